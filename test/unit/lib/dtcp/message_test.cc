#include "lib/dtcp/framing.h"
#include "test/unit/lib/dtcp/allocations.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <string>
#include <string_view>

namespace flowtap::test {
namespace {

using dtcp::Code;
using dtcp::Method;
using dtcp::Name;
using dtcp::parse_envelope;
using dtcp::parse_request;

std::string_view value(const dtcp::Request& request, Name name) {
    const auto* const parameter = request.find(name);
    REQUIRE(parameter != nullptr);
    return parameter->value;
}

TEST_CASE("2: the request line is METHOD DTCP/x.y", "[dtcp][dtcp:2.request-line]") {
    const std::string raw = whole({"DELETE DTCP/0.7", "Criteria-ID: 2"});
    const auto request = parse_request(raw);
    CHECK_FALSE(request.failure());
    CHECK(request.method() == Method::delete_);
    CHECK(request.method_text() == "DELETE");
    CHECK(request.version() == dtcp::version_0_7);
    CHECK(request.request_line() == "DELETE DTCP/0.7");
    for (const std::string_view bad :
         {"ADD", "DTCP/0.7", "ADD DTCP", "ADD DTCP/", "ADD DTCP/0", "ADD DTCP/0.", "ADD DTCP/.7",
          "ADD DTCP/0.7 x", "ADD DTCP/a.b", "ADD DTCP/0.7a", " ADD DTCP/0.7", "ADD  HTTP/1.1",
          "ADD DTCP/-1.7", "ADD DTCP/0.7\x01", "ADD DTCP/0.7\xff",
          "A\x01"
          "DD DTCP/0.7",
          "A\xff DTCP/0.7", "ADD DTCP/0.999999999"}) {
        CAPTURE(bad);
        const auto failure = form_failure(whole({bad}));
        REQUIRE(failure);
        CHECK(failure->code == Code::bad_request);
        CHECK(failure->line == bad);
    }
}

TEST_CASE("2: every method is known, and an unknown one is 501 with its line",
          "[dtcp][dtcp:5.methods][dtcp:9.501-method]") {
    for (const auto method : {Method::add, Method::delete_, Method::refresh, Method::list, Method::noop,
                              Method::enable, Method::disable}) {
        const std::string raw = whole(dtcp::to_string(method), {});
        CHECK(parse_request(raw).method() == method);
        CHECK_FALSE(form_failure(raw));
    }
    const auto failure = form_failure(whole({"STEAL DTCP/0.7", "What: ever"}));
    REQUIRE(failure);
    CHECK(failure->code == Code::not_implemented);
    CHECK(failure->line == "STEAL DTCP/0.7");
}

TEST_CASE("2: a parameter line is Name *WSP : *WSP value, white space before its end is ignored",
          "[dtcp][dtcp:2.parameter-line][dtcp:2.trailing-space]") {
    const std::string raw =
        whole("ADD", {"Protocol:6", "Dest-Port \t :  \t53", "Cdest-ID: a b \t ", "Flags:"});
    const auto request = parse_request(raw);
    CHECK_FALSE(request.failure());
    CHECK(value(request, Name::protocol) == "6");
    CHECK(value(request, Name::dest_port) == "53");
    CHECK(value(request, Name::cdest_id) == "a b");
    CHECK(value(request, Name::flags).empty());
    CHECK(request.find(Name::dest_port)->line == "Dest-Port \t :  \t53");
    CHECK(request.find(Name::dest_port)->name == "Dest-Port");
    CHECK(request.find(Name::cdest_id)->line == "Cdest-ID: a b");
    for (const std::string_view bad : {"Protocol", ": 6", " Protocol: 6", "\tProtocol: 6", "Pro tocol: 6",
                                       "Protöcol: 6", "Protocol; 6", "(Protocol): 6"}) {
        CAPTURE(bad);
        const auto failure = form_failure(whole("ADD", {bad}));
        REQUIRE(failure);
        CHECK(failure->code == Code::bad_request);
        CHECK(failure->line == bad);
    }
}

TEST_CASE("2: a folded line is no parameter line", "[dtcp][dtcp:2.parameter-line]") {
    const auto failure = form_failure(whole("ADD", {"Source-Address: 10.0.0.1,", "  10.0.0.2"}));
    REQUIRE(failure);
    CHECK(failure->code == Code::bad_request);
    CHECK(failure->line == "  10.0.0.2");
}

TEST_CASE("2: names match regardless of case", "[dtcp][dtcp:2.name-case]") {
    const std::string raw =
        whole("ADD", {"CDest-ID: a", "x-jtap-Filter-FAMILY: ccc", "protocol: 6", "x-Az: 1"});
    const auto request = parse_request(raw);
    CHECK_FALSE(request.failure());
    CHECK(value(request, Name::cdest_id) == "a");
    CHECK(value(request, Name::jtap_filter_family) == "ccc");
    CHECK(request.find("PROTOCOL")->value == "6");
    CHECK(request.find("CSOURCE-id")->value == "csrc");
    CHECK(request.find("Dest-Port") == nullptr);
    CHECK(request.find("X-aZ")->value == "1");
}

TEST_CASE("2: every name of the specification is found in any case, and nothing near it",
          "[dtcp][dtcp:2.name-case]") {
    for (std::size_t i = 0; i < dtcp::name_count; ++i) {
        const auto name = static_cast<Name>(i);
        std::string text{dtcp::to_string(name)};
        CHECK(dtcp::find_name(text) == name);
        for (char& letter : text) {
            letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
        }
        CHECK(dtcp::find_name(text) == name);
        CHECK(dtcp::find_name(text + "x") == Name::unknown);
        CHECK(dtcp::find_name(std::string_view{text}.substr(1)) != name);
    }
    CHECK(dtcp::find_name("") == Name::unknown);
    CHECK(dtcp::find_name(std::string(1000, 'a')) == Name::unknown);
}

TEST_CASE("2: of a parameter given twice the first counts", "[dtcp][dtcp:2.first-counts]") {
    const std::string raw = whole("ADD", {"Protocol: 6", "PROTOCOL: 17", "protocol: nonsense"});
    const auto request = parse_request(raw);
    CHECK_FALSE(request.failure());
    CHECK(value(request, Name::protocol) == "6");
    CHECK(request.parameters().size() == 5);
}

TEST_CASE("2: Authentication-Info is last: anything after it is ignored",
          "[dtcp][dtcp:2.signature-last][dtcp:3.hmac-extent]") {
    const std::string head = lines({"NOOP DTCP/0.7", "Csource-ID: a", "Seq: 1"});
    const std::string raw =
        head + "Authentication-Info: 00 \r\nFlags: SendAsync\r\nBogus\r\n\xff: \x01\r\n\r\n";
    const auto request = parse_request(raw);
    CHECK_FALSE(request.failure());
    CHECK(request.authentication_info() == "00");
    CHECK(request.find(Name::flags) == nullptr);
    CHECK(request.parameters().size() == 2);
    CHECK(request.signed_bytes() == head);
}

TEST_CASE("2: other parameters come in any order", "[dtcp][dtcp:2.any-order]") {
    const std::string raw = lines({"NOOP DTCP/0.7", "Seq: 1", "Flags: SendAsync", "Csource-ID: a", ""});
    const auto request = parse_request(raw);
    CHECK(parse_envelope(request)->seq == 1);
    CHECK(parse_envelope(request)->csource_id == "a");
    CHECK(dtcp::parse_noop(request)->send_async);
}

TEST_CASE("2: unknown parameters starting with X- are ignored and counted", "[dtcp][dtcp:2.unknown-x]") {
    const std::string raw =
        whole("ADD", {"X-Logical-System: default", "x-router-instance: \\9", "X-: y", "X-RM-Circuit-id: 3"});
    const auto request = parse_request(raw);
    CHECK_FALSE(request.failure());
    CHECK(request.ignored() == 4);
}

TEST_CASE("2: any other unknown parameter is 501 with its line, before what follows",
          "[dtcp][dtcp:2.unknown][dtcp:9.501-parameter]") {
    for (const std::string_view line :
         {"Colour: blue", "XJTap: 1", "X_Y: 1", "Criteria-Num: 1", "TIMESTAMP: now"}) {
        CAPTURE(line);
        const auto failure = form_failure(whole("ADD", {line, "Second: 2"}));
        REQUIRE(failure);
        CHECK(failure->code == Code::not_implemented);
        CHECK(failure->line == line);
    }
}

TEST_CASE("2: a parameter that the method does not take is 501, an X- one is ignored",
          "[dtcp][dtcp:2.unknown][dtcp:5.refresh-static]") {
    CHECK(form_failure(whole("DELETE", {"Source-Address: 10.0.0.1"}))->code == Code::not_implemented);
    CHECK(form_failure(whole("ADD", {"Criteria-ID: 1"}))->line == "Criteria-ID: 1");
    CHECK(form_failure(whole("NOOP", {"Cdest-ID: a"}))->code == Code::not_implemented);
    CHECK(form_failure(whole("REFRESH", {"Flags: Static"}))->code == Code::not_implemented);
    CHECK_FALSE(form_failure(whole("DELETE", {"X-JTap-Cdest-TTL: 3"})));
}

TEST_CASE("2: a message is UTF-8 text: 400 with the line where it is not", "[dtcp][dtcp:2.utf-8]") {
    CHECK_FALSE(form_failure(whole("ADD", {"Cdest-ID: Zürich"})));
    for (const std::string_view bad :
         {"Cdest-ID: \xff", "Cdest-ID: \xc3", "Cdest-ID: \xed\xa0\x80", "X-Any: \xfe"}) {
        const auto failure = form_failure(whole("ADD", {bad}));
        REQUIRE(failure);
        CHECK(failure->code == Code::bad_request);
        CHECK(failure->line == bad);
    }
}

TEST_CASE("2: NUL and other control characters are 400 with the line", "[dtcp][dtcp:2.utf-8]") {
    for (int byte = 0; byte < 128; ++byte) {
        const bool control = (byte < 32 && byte != '\t') || byte == 127;
        if (byte == '\n') {
            continue;
        }
        const std::string line = std::string{"Cdest-ID: a"} + static_cast<char>(byte) + "b";
        CAPTURE(byte);
        const auto failure = form_failure(whole("ADD", {line}));
        CHECK(failure.has_value() == control);
        if (failure) {
            CHECK(failure->code == Code::bad_request);
            CHECK(failure->line == line);
        }
    }
}

TEST_CASE("2: a message without its empty line is 400", "[dtcp][dtcp:2.empty-line]") {
    for (const std::string_view raw :
         {"", "\r\n", "NOOP DTCP/0.7", "NOOP DTCP/0.7\r\n", "NOOP DTCP/0.7\r\nSeq: 1\r\n",
          "NOOP DTCP/0.7\r\nSeq: 1\r\nAuthentication-Info: 0\r\n",
          "NOOP DTCP/0.7\r\nAuthentication-Info: 0\r\nX: y"}) {
        CAPTURE(raw);
        REQUIRE(form_failure(raw));
        CHECK(form_failure(raw)->code == Code::bad_request);
    }
}

TEST_CASE("2: what follows the empty line in a datagram is ignored", "[dtcp][dtcp:1.udp-one-message]") {
    const std::string raw = whole("NOOP", {}) + "Flags: nonsense\r\nrubbish\xff\r\n\r\n";
    CHECK_FALSE(form_failure(raw));
    CHECK(parse_request(raw).parameters().size() == 2);
}

TEST_CASE("1: a message longer than 64 KiB is 400 and not looked at", "[dtcp][dtcp:1.max-message]") {
    const std::string rest = whole("ADD", {});
    std::string fill(dtcp::max_message - rest.size() - 7, 'a');
    const std::string longest = "ADD DTCP/0.8\r\nX-A: " + fill + "\r\n" + rest.substr(rest.find('\n') + 1);
    REQUIRE(longest.size() == dtcp::max_message);
    CHECK_FALSE(form_failure(longest));
    const std::string longer = "a" + longest;
    const auto request = parse_request(longer);
    REQUIRE(request.failure());
    CHECK(request.failure()->code == Code::bad_request);
    CHECK(request.failure()->line.empty());
    CHECK(request.parameters().empty());
    CHECK_FALSE(request.authentication_info());
}

TEST_CASE("2: 64 parameters are taken, one more is 400 with its line, and the message can still be verified",
          "[dtcp]") {
    std::string raw = "NOOP DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1\r\n";
    for (int i = 0; i < 62; ++i) {
        raw += "X-A: " + std::to_string(i) + "\r\n";
    }
    auto key = hmac("secret");
    std::string good = raw;
    key.sign(good);
    CHECK_FALSE(form_failure(good));
    std::string bad = raw + "X-Beyond: 65\r\nX-More: 66\r\n";
    key.sign(bad);
    const auto request = parse_request(bad);
    REQUIRE(request.failure());
    CHECK(request.failure()->code == Code::bad_request);
    CHECK(request.failure()->line == "X-Beyond: 65");
    CHECK(request.parameters().size() == dtcp::max_parameters);
    CHECK(key.verify(request));
}

TEST_CASE("4: 505 comes before 400, and 400 before 501", "[dtcp][dtcp:9.505]") {
    CHECK(form_failure(whole({"STEAL DTCP/0.9", "bad line", "Unknown: 1"}))->code ==
          Code::version_not_supported);
    CHECK(form_failure(whole({"STEAL DTCP/0.7", "Unknown: 1", "bad line"}))->line == "bad line");
    CHECK(form_failure(whole({"STEAL DTCP/0.7", "Unknown: 1"}))->line == "STEAL DTCP/0.7");
}

TEST_CASE("4: versions 0.5 to 0.8 are accepted and answered in the request's version",
          "[dtcp][dtcp:4.accepted]") {
    for (const std::uint16_t minor :
         {std::uint16_t{5}, std::uint16_t{6}, std::uint16_t{7}, std::uint16_t{8}}) {
        const std::string raw = whole({"NOOP DTCP/0." + std::to_string(minor)});
        const auto request = parse_request(raw);
        CHECK_FALSE(request.failure());
        CHECK(request.version() == dtcp::Version{0, minor});
        CHECK(dtcp::reply_version(request.version()) == request.version());
    }
}

TEST_CASE("4: newer than 0.8 is 505 written as 0.8, older than 0.5 is 505 written as 0.5",
          "[dtcp][dtcp:4.newer][dtcp:4.older][dtcp:9.505]") {
    for (const std::string_view newer : {"0.9", "0.10", "1.0", "0.65536", "70000.0", "1.5"}) {
        const std::string line = "NOOP DTCP/" + std::string{newer};
        const std::string raw = whole({line});
        const auto request = parse_request(raw);
        REQUIRE(request.failure());
        CHECK(request.failure()->code == Code::version_not_supported);
        CHECK(request.failure()->line == line);
        CHECK(dtcp::reply_version(request.version()) == dtcp::version_0_8);
    }
    for (const std::string_view older : {"0.4", "0.0", "0.1"}) {
        const std::string raw = whole({"NOOP DTCP/" + std::string{older}});
        const auto request = parse_request(raw);
        CHECK(request.failure()->code == Code::version_not_supported);
        CHECK(dtcp::reply_version(request.version()) == dtcp::version_0_5);
    }
}

TEST_CASE("5: every request needs a Csource-ID and a Seq",
          "[dtcp][dtcp:3.seq-64-bit][dtcp:5.envelope][dtcp:9.400-missing]") {
    const auto envelope = [](std::string_view raw) { return parse_envelope(parse_request(raw)); };
    CHECK(envelope("NOOP DTCP/0.7\r\nCsource-ID: a\\044b\r\nSeq: 18446744073709551615\r\n\r\n")->csource_id ==
          "a,b");
    CHECK(envelope("NOOP DTCP/0.7\r\nCsource-ID: a\r\nSeq: 18446744073709551615\r\n\r\n")->seq ==
          18446744073709551615U);
    CHECK(fails_with(envelope("NOOP DTCP/0.7\r\nSeq: 1\r\n\r\n"), Code::bad_request, ""));
    CHECK(fails_with(envelope("NOOP DTCP/0.7\r\nCsource-ID: a\r\n\r\n"), Code::bad_request, ""));
    for (const std::string bad :
         {"", "-1", "+1", "1x", "0x1", "18446744073709551616", "1 2", "1.0", "\\256"}) {
        CAPTURE(bad);
        std::string line = "Seq: " + bad;
        line.resize(line.find_last_not_of(' ') + 1);
        CHECK(fails_with(envelope("NOOP DTCP/0.7\r\nCsource-ID: a\r\n" + line + "\r\n\r\n"),
                         Code::bad_request, line));
    }
    const std::string longest(dtcp::max_identifier, 'a');
    CHECK(envelope("NOOP DTCP/0.7\r\nCsource-ID: " + longest + "\r\nSeq: 1\r\n\r\n"));
    for (const std::string& bad : {std::string{}, longest + "a", std::string{"a\\000"}, std::string{"\\255"},
                                   std::string{"a\\010b"}, std::string{"\\2"}}) {
        CAPTURE(bad);
        std::string line = "Csource-ID: " + bad;
        line.resize(line.find_last_not_of(' ') + 1);
        CHECK(
            fails_with(envelope("NOOP DTCP/0.7\r\n" + line + "\r\nSeq: 1\r\n\r\n"), Code::bad_request, line));
    }
}

TEST_CASE("3: an ill-formed message can be authenticated before it is answered", "[dtcp]") {
    auto key = hmac("secret");
    std::string raw = lines({"BOGUS DTCP/0.7", "Csource-ID: csrc", "no parameter", "Seq: 9"});
    key.sign(raw);
    const auto request = parse_request(raw);
    REQUIRE(request.failure());
    CHECK(request.failure()->line == "no parameter");
    CHECK(parse_envelope(request)->csource_id == "csrc");
    CHECK(parse_envelope(request)->seq == 9);
    CHECK(key.verify(request));
}

TEST_CASE("message: parsing a well-formed request allocates nothing", "[dtcp][as-shipped]") {
    const std::string raw =
        whole("ADD", {"Source-Address: 10.0.0.1", "Cdest-ID: cd1", "Flags: Static", "X-Other: 1"});
    const Allocations before;
    const auto request = parse_request(raw);
    CHECK(before.bytes_since() == 0);
    CHECK_FALSE(request.failure());
}

}  // namespace
}  // namespace flowtap::test
