#include "lib/dtcp/response.h"

#include "lib/dtcp/escape.h"
#include "lib/dtcp/response_reader.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace flowtap::test {
namespace {

using dtcp::Code;
using dtcp::Name;
using dtcp::Timestamp;

Timestamp at(std::string_view text) {
    return dtcp::parse_timestamp(text).value();
}

/// The lines, signed with "Juniper".
std::string signed_lines(std::initializer_list<std::string_view> texts) {
    std::string message = lines(texts);
    hmac("Juniper").sign(message);
    return message;
}

TEST_CASE("3: time is UTC, YYYY-MM-DD HH:MM:SS.mmm", "[dtcp][dtcp:3.time]") {
    CHECK(dtcp::to_string(Timestamp{}) == "1970-01-01 00:00:00.000");
    CHECK(dtcp::to_string(Timestamp{std::chrono::milliseconds{1297613762802}}) == "2011-02-13 16:16:02.802");
    CHECK(dtcp::to_string(Timestamp{std::chrono::milliseconds{-1}}) == "1969-12-31 23:59:59.999");
    CHECK(dtcp::to_string(Timestamp{std::chrono::milliseconds{951782400007}}) == "2000-02-29 00:00:00.007");
    CHECK(dtcp::to_string(Timestamp::max()) == "9999-12-31 23:59:59.999");
    CHECK(dtcp::to_string(Timestamp::min()) == "0000-01-01 00:00:00.000");
    for (const std::string_view text :
         {"0000-01-01 00:00:00.000", "9999-12-31 23:59:59.999", "2024-02-29 12:34:56.789"}) {
        CHECK(dtcp::to_string(at(text)) == text);
    }
    for (const std::string_view bad :
         {"", "2011-02-13", "2011-02-13 16:00:02", "2011-02-13T16:00:02.802", "2011-02-30 00:00:00.000",
          "2011-13-01 00:00:00.000", "2011-00-01 00:00:00.000", "2011-02-13 24:00:00.000",
          "2011-02-13 00:60:00.000", "2011-02-13 00:00:60.000", "2011-02-13 00:00:00.0000",
          "x011-02-13 00:00:00.000"}) {
        CAPTURE(bad);
        CHECK_FALSE(dtcp::parse_timestamp(bad));
    }
}

TEST_CASE("3: our ADD and DELETE answers are Juniper's published ones, byte for byte",
          "[dtcp][dtcp:2.response-line][dtcp:2.upper-case][dtcp:3.vectors-juniper][dtcp:3.signed-answers]["
          "dtcp:3.answer-seq][dtcp:8.order-add][dtcp:8.order-delete]") {
    auto key = hmac("Juniper");
    CHECK(dtcp::add_response(dtcp::version_0_7, 7, 2, at("2011-02-13 15:56:49.609"), key) ==
          lines({"DTCP/0.7 200 OK", "SEQ: 7", "CRITERIA-ID: 2", "TIMESTAMP: 2011-02-13 15:56:49.609",
                 "AUTHENTICATION-INFO: 4880de4b8cead98c95813fd9b95e240b107d4693", ""}));
    CHECK(dtcp::count_response(dtcp::version_0_7, 10, 1, at("2011-02-13 16:00:02.802"), key) ==
          lines({"DTCP/0.7 200 OK", "SEQ: 10", "CRITERIA-COUNT: 1", "TIMESTAMP: 2011-02-13 16:00:02.802",
                 "AUTHENTICATION-INFO: 2834ff32ec07d84753a046cfb552e072cc27d50b", ""}));
}

TEST_CASE("5: NOOP's success is empty", "[dtcp][dtcp:3.answer-seq][dtcp:5.noop]") {
    auto key = hmac("Juniper");
    CHECK(
        dtcp::noop_response(dtcp::version_0_5, ~std::uint64_t{0}, Timestamp{}, key) ==
        signed_lines({"DTCP/0.5 200 OK", "SEQ: 18446744073709551615", "TIMESTAMP: 1970-01-01 00:00:00.000"}));
}

TEST_CASE("9: a failure repeats the offending line", "[dtcp][dtcp:3.signed-answers][dtcp:3.answer-seq]") {
    auto key = hmac("Juniper");
    const dtcp::Failure failure{Code::improper_filter, "Dest-Port:  99999 ", "why"};
    CHECK(dtcp::failure_response(dtcp::version_0_7, 5, failure, Timestamp{}, key) ==
          signed_lines({"DTCP/0.7 432 IMPROPER FILTER SPECIFICATION", "SEQ: 5", "Dest-Port:  99999 ",
                        "TIMESTAMP: 1970-01-01 00:00:00.000"}));
    CHECK(dtcp::failure_response(dtcp::version_0_5, std::nullopt,
                                 {Code::version_not_supported, "ADD DTCP/0.4"}, Timestamp{},
                                 key) == signed_lines({"DTCP/0.5 505 VERSION NOT SUPPORTED", "ADD DTCP/0.4",
                                                       "TIMESTAMP: 1970-01-01 00:00:00.000"}));
    CHECK(dtcp::failure_response(dtcp::version_0_7, 5, {Code::jtap_failure}, Timestamp{}, key) ==
          signed_lines({"DTCP/0.7 901 JTAP-FAILURE", "SEQ: 5", "TIMESTAMP: 1970-01-01 00:00:00.000"}));
}

TEST_CASE("3: 497, 498 and 499 are never sent", "[dtcp][dtcp:9.never-sent]") {
    auto key = hmac("Juniper");
    for (const Code code : {Code::invalid_authentication, Code::invalid_sequence, Code::invalid_csource}) {
        CHECK(dtcp::never_sent(code));
        CHECK(dtcp::failure_response(dtcp::version_0_7, 5, {code, "Seq: 5"}, Timestamp{}, key) ==
              signed_lines({"DTCP/0.7 500 INTERNAL ERROR", "SEQ: 5", "TIMESTAMP: 1970-01-01 00:00:00.000"}));
    }
    CHECK_FALSE(dtcp::never_sent(Code::bad_request));
}

TEST_CASE("9: every code has a text on the first line", "[dtcp][dtcp:2.response-line]") {
    for (const int code : {130, 131, 200, 390, 400, 430, 431, 432, 433, 497, 498,
                           499, 500, 501, 505, 550, 551, 580, 598, 599, 680, 901}) {
        CAPTURE(code);
        CHECK(dtcp::text(static_cast<Code>(code)) != "UNKNOWN");
    }
    CHECK(dtcp::text(static_cast<Code>(201)) == "UNKNOWN");
}

TEST_CASE("9: what is repeated can add no line and no second signature to the answer",
          "[dtcp][dtcp:9.400-safe]") {
    auto key = hmac("Juniper");
    const std::string evil = "X: a\r\n\r\nDTCP/0.7 200 OK\nSEQ: 6" + std::string(1, '\0') + "\xff";
    const std::string message =
        dtcp::failure_response(dtcp::version_0_7, 5, {Code::bad_request, evil}, Timestamp{}, key);
    const auto response = dtcp::read_response(message, key);
    REQUIRE(response);
    CHECK(response->code == 400);
    CHECK(response->fields.size() == 3);
    CHECK(response->fields[1].value == "a\\013\\010\\013\\010DTCP/0.7 200 OK\\010SEQ: 6\\000\\255");
}

TEST_CASE("9: of a very long line 8 KiB are repeated", "[dtcp][dtcp:9.400-safe]") {
    auto key = hmac("Juniper");
    const dtcp::Failure failure{Code::bad_request, "X: " + std::string(60'000, '\x01')};
    CHECK(dtcp::failure_response(dtcp::version_0_7, 5, failure, Timestamp{}, key).size() < 33'000);
    const dtcp::Failure fits{Code::bad_request, "X: " + std::string(dtcp::max_repeated - 3, 'a')};
    CHECK(dtcp::failure_response(dtcp::version_0_7, 5, fits, Timestamp{}, key).find(fits.line + "\r\n") !=
          std::string::npos);
}

TEST_CASE("9: a line that would end the answer is not repeated", "[dtcp][dtcp:9.400-safe]") {
    auto key = hmac("Juniper");
    for (const std::string& line :
         {std::string{" \t"}, std::string(9000, ' ') + "x", std::string{"authentication-info : 0"}}) {
        const auto answer =
            dtcp::failure_response(dtcp::version_0_7, 5, {Code::bad_request, line}, Timestamp{}, key);
        const auto response = dtcp::read_response(answer, key);
        REQUIRE(response);
        CHECK(response->fields.size() == 2);
    }
}

TEST_CASE("3: values are escaped so that they are read as they were", "[dtcp]") {
    auto key = hmac("Juniper");
    const std::string bytes = " a\\b,\r\n\t" + std::string(1, '\0') + "\xfe ";
    const std::string message = dtcp::MessageWriter{dtcp::version_0_7, Code::ok}
                                    .text(Name::alert_info, bytes)
                                    .value(Name::criteria_id, "1,2\n3")
                                    .number(Name::seq, 1)
                                    .sign(key);
    const auto response = dtcp::read_response(message, key);
    REQUIRE(response);
    CHECK(dtcp::unescape(*response->find(Name::alert_info)) == bytes);
    CHECK(*response->find(Name::criteria_id) == "1,2\\0103");
    CHECK(response->fields.size() == 3);
}

TEST_CASE("client: a response is read with its fields in order, whatever their case and line ends",
          "[dtcp]") {
    auto key = hmac("secret");
    std::string message = "dtcp/0.6 200 Okay then\nSeq:4 \r\ncriteria-id:  9\nX-New: y\nADD DTCP/0.6\n";
    key.sign(message);
    const auto response = dtcp::read_response(message, key);
    REQUIRE(response);
    CHECK(response->version == dtcp::version_0_6);
    CHECK(response->code == 200);
    CHECK(response->text == "Okay then");
    CHECK(response->seq() == 4);
    CHECK_FALSE(response->is_notification());
    CHECK(response->fields == std::vector<dtcp::ResponseField>{{Name::seq, "Seq", "4"},
                                                               {Name::criteria_id, "criteria-id", "9"},
                                                               {Name::unknown, "X-New", "y"}});
    CHECK(response->other_lines == std::vector<std::string>{"ADD DTCP/0.6"});
}

TEST_CASE("client: a response without a signature, with a wrong one, or ill-formed is an error", "[dtcp]") {
    auto key = hmac("secret");
    const auto read = [&key](std::string message) {
        key.sign(message);
        return dtcp::read_response(message, key);
    };
    CHECK(read("DTCP/0.7 200 OK\r\n"));
    CHECK(read("DTCP/0.7 200\r\n"));
    CHECK(read("DTCP/0.7 999 \r\n"));
    for (const std::string bad :
         {"DTCP/0.7 20 OK\r\n", "DTCP/0.7 2000 OK\r\n", "DTCP/0.7 2x0 OK\r\n", "DTCP/0.7\r\n",
          "HTTP/1.1 200 OK\r\n", "ADD DTCP/0.7\r\n", " DTCP/0.7 200 OK\r\n",
          "DTCP/0.7 200 OK\r\nSEQ: \x01\r\n", "DTCP/0.7 200 OK\r\nSEQ: \xff\r\n", "\r\n"}) {
        CAPTURE(bad);
        CHECK_FALSE(read(bad));
    }
    CHECK_FALSE(dtcp::read_response("DTCP/0.7 200 OK\r\nSEQ: 1\r\n\r\n", key));
    CHECK(dtcp::read_response_unverified("DTCP/0.7 200 OK\r\nSEQ: 1\r\n\r\n"));
    CHECK_FALSE(dtcp::read_response_unverified("DTCP/0.7 200 OK\r\nSEQ: 1\r\n"));
    CHECK_FALSE(dtcp::read_response_unverified(""));
    std::string changed = "DTCP/0.7 200 OK\r\nSEQ: 1\r\n";
    key.sign(changed);
    changed[changed.find('1')] = '2';
    CHECK_FALSE(dtcp::read_response(changed, key));
}

TEST_CASE("client: a Seq that is no number is no seq", "[dtcp]") {
    const auto response = dtcp::read_response_unverified("DTCP/0.7 400 BAD REQUEST\r\nSeq: abc\r\n\r\n");
    REQUIRE(response);
    CHECK_FALSE(response->seq());
}

}  // namespace
}  // namespace flowtap::test
