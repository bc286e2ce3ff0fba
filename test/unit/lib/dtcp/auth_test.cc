#include "lib/dtcp/response_reader.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>
#include <openssl/crypto.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace {

/// Lengths of the comparisons that were made; the program's own CRYPTO_memcmp comes before libcrypto's.
std::vector<std::size_t>& comparisons() {
    static std::vector<std::size_t> lengths;
    return lengths;
}

}  // namespace

extern "C" int CRYPTO_memcmp(const void* left, const void* right, std::size_t size) {
    comparisons().push_back(size);
    unsigned char difference = 0;
    for (std::size_t i = 0; i < size; ++i) {
        difference |= static_cast<unsigned char>(static_cast<const unsigned char*>(left)[i] ^
                                                 static_cast<const unsigned char*>(right)[i]);
    }
    return difference;
}

namespace flowtap::test {
namespace {

using dtcp::parse_request;

const std::string draft_add =
    lines({"ADD DTCP/0.6", "Source-Address: 192.168.10.4", "Dest-Address: 10.1.1.1-10.1.1.10",
           "Protocol: 6,17", "Dest-Port: 53", "Timeout-Idle: 600", "Action: Copy", "Priority: 2",
           "Flags: SendAsync", "Cdest-ID: cdst_b", "Csource-ID: csrc_a", "Seq: 3827443"},
          " \r\n");
constexpr std::string_view draft_digest = "28eb606458ba46160d7a59da48763020f5aef9f5";

TEST_CASE("3: the ADD of the draft's section 7.1 verifies with its trailing spaces",
          "[dtcp][dtcp:3.vector-draft]") {
    auto key = hmac("secret");
    CHECK(key.hex(draft_add) == draft_digest);
    const std::string raw = draft_add + "Authentication-Info: " + std::string{draft_digest} + " \r\n \r\n";
    const auto request = parse_request(raw);
    CHECK_FALSE(request.failure());
    CHECK(key.verify(request));
    const auto add = dtcp::parse_add(request);
    REQUIRE(add);
    CHECK(add->cdests.at(0).id == "cdst_b");
    CHECK(add->priority == 2);
    CHECK(add->send_async);
    CHECK(add->timeouts.idle == 600);
}

TEST_CASE("3: trailing white space is part of the hashed bytes", "[dtcp][dtcp:3.hmac-raw-bytes]") {
    auto key = hmac("secret");
    std::string without = draft_add;
    for (auto at = without.find(" \r\n"); at != std::string::npos; at = without.find(" \r\n")) {
        without.erase(at, 1);
    }
    const std::string raw = without + "Authentication-Info: " + std::string{draft_digest} + "\r\n\r\n";
    CHECK_FALSE(parse_request(raw).failure());
    CHECK_FALSE(key.verify(parse_request(raw)));
}

TEST_CASE("3: Juniper's published DELETE verifies", "[dtcp][dtcp:3.vectors-juniper]") {
    auto key = hmac("Juniper");
    const std::string raw =
        lines({"DELETE DTCP/0.7", "Csource-ID: dtcp1", "CRITERIA-ID: 2", "Flags: STATIC", "Seq: 10",
               "Authentication-Info: 7e84ae871b12f2da023b038774115bb8d955f17e", ""});
    const auto request = parse_request(raw);
    CHECK(key.verify(request));
    const auto parsed = dtcp::parse_delete(request);
    REQUIRE(parsed);
    CHECK(parsed->including_static);
    CHECK(std::get<dtcp::CriteriaIds>(parsed->selector).terms ==
          std::vector<dtcp::IdTerm>{{2, 2, false, false}});
}

TEST_CASE("3: Juniper's published DELETE response verifies", "[dtcp][dtcp:3.vectors-juniper]") {
    auto key = hmac("Juniper");
    const std::string raw =
        lines({"DTCP/0.7 200 OK", "SEQ: 10", "CRITERIA-COUNT: 1", "TIMESTAMP: 2011-02-13 16:00:02.802",
               "AUTHENTICATION-INFO: 2834ff32ec07d84753a046cfb552e072cc27d50b", ""});
    const auto response = dtcp::read_response(raw, key);
    REQUIRE(response);
    CHECK(response->code == 200);
    CHECK(response->seq() == 10);
    CHECK(*response->find(dtcp::Name::criteria_count) == "1");
}

TEST_CASE("3: Juniper's published ADD response verifies", "[dtcp][dtcp:3.vectors-juniper]") {
    auto key = hmac("Juniper");
    const std::string raw =
        lines({"DTCP/0.7 200 OK", "SEQ: 7", "CRITERIA-ID: 2", "TIMESTAMP: 2011-02-13 15:56:49.609",
               "AUTHENTICATION-INFO: 4880de4b8cead98c95813fd9b95e240b107d4693", ""});
    const auto response = dtcp::read_response(raw, key);
    REQUIRE(response);
    CHECK(*response->find(dtcp::Name::criteria_id) == "2");
}

TEST_CASE("3: HMAC-SHA1 is RFC 2202's", "[dtcp][dtcp:3.hmac-sha1]") {
    CHECK(hmac(std::string(20, '\x0b')).hex("Hi There") == "b617318655057264e28bc0b6fb378c8ef146be00");
    CHECK(hmac("Jefe").hex("what do ya want for nothing?") == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    CHECK(hmac(std::string(80, '\xaa')).hex("Test Using Larger Than Block-Size Key - Hash Key First") ==
          "aa4ae5e15272d00e95705637ce8a3b55ed402112");
}

TEST_CASE("3: one key serves many messages, each as if it were the first", "[dtcp][dtcp:3.hmac-sha1]") {
    auto key = hmac("Jefe");
    for (int i = 0; i < 3; ++i) {
        CHECK(key.hex("what do ya want for nothing?") == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        key.hex(std::string(static_cast<std::size_t>(i) * 1000, 'x'));
    }
    auto moved = std::move(key);
    CHECK(moved.hex("what do ya want for nothing?") == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
}

TEST_CASE("3: the raw bytes are hashed: LF line ends, white space and case as they came",
          "[dtcp][dtcp:3.hmac-raw-bytes]") {
    auto key = hmac("secret");
    std::string raw = "NOOP  DTCP/0.7\nCSOURCE-id :  a \t\nseq:1\r\n";
    raw += "authentication-INFO:  " + key.hex(raw) + "\n\n";
    CHECK(key.verify(parse_request(raw)));
}

TEST_CASE("3: no changed byte before Authentication-Info and no changed digit of it verifies",
          "[dtcp][dtcp:3.hmac-extent]") {
    auto key = hmac("secret");
    std::string raw = lines({"NOOP DTCP/0.7", "Csource-ID: a", "Seq: 1"});
    const std::size_t signed_size = raw.size();
    key.sign(raw);
    REQUIRE(key.verify(parse_request(raw)));
    const auto digest_at = raw.size() - 44;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        if (i >= signed_size && (i < digest_at || i >= digest_at + 40)) {
            continue;
        }
        for (int bit = 0; bit < 8; ++bit) {
            std::string changed = raw;
            changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
            CHECK_FALSE(key.verify(parse_request(changed)));
        }
    }
}

TEST_CASE("3: another key, an upper-case, short, long or missing digest does not verify",
          "[dtcp][dtcp:3.hmac-form]") {
    auto key = hmac("secret");
    const std::string head = lines({"NOOP DTCP/0.7", "Csource-ID: a", "Seq: 1"});
    const std::string digest = key.hex(head);
    const auto verifies = [&](const std::string& tail) {
        const std::string raw = head + tail;
        return key.verify(parse_request(raw));
    };
    CHECK(verifies("Authentication-Info: " + digest + "\r\n\r\n"));
    CHECK_FALSE(verifies("Authentication-Info: " + hmac("Secret").hex(head) + "\r\n\r\n"));
    std::string upper = digest;
    for (char& digit : upper) {
        digit = digit >= 'a' ? static_cast<char>(digit - 'a' + 'A') : digit;
    }
    REQUIRE(upper != digest);
    CHECK_FALSE(verifies("Authentication-Info: " + upper + "\r\n\r\n"));
    CHECK_FALSE(verifies("Authentication-Info: " + digest.substr(1) + "\r\n\r\n"));
    CHECK_FALSE(verifies("Authentication-Info: " + digest + "0\r\n\r\n"));
    CHECK_FALSE(verifies("Authentication-Info:\r\n\r\n"));
    CHECK_FALSE(verifies("\r\n"));
}

TEST_CASE("3: digests are compared in constant time, whole, wherever they differ",
          "[dtcp][dtcp:3.hmac-constant-time]") {
    auto key = hmac("secret");
    const std::string digest = key.hex("message");
    for (std::size_t wrong = 0; wrong <= digest.size(); ++wrong) {
        std::string given = digest;
        if (wrong < given.size()) {
            given[wrong] = given[wrong] == '0' ? '1' : '0';
        }
        comparisons().clear();
        CHECK(key.verify("message", given) == (wrong == digest.size()));
        CHECK(comparisons() == std::vector<std::size_t>{40});
    }
}

TEST_CASE("3: an empty key is refused", "[dtcp]") {
    CHECK_FALSE(dtcp::Hmac::create({}));
    const std::uint8_t beyond = 1;
    CHECK_FALSE(dtcp::Hmac::create({&beyond, 0}));
}

TEST_CASE("3: sign() appends the AUTHENTICATION-INFO line and the empty line",
          "[dtcp][dtcp:3.vectors-juniper]") {
    auto key = hmac("Juniper");
    std::string message =
        lines({"DTCP/0.7 200 OK", "SEQ: 7", "CRITERIA-ID: 2", "TIMESTAMP: 2011-02-13 15:56:49.609"});
    const std::string head = message;
    key.sign(message);
    CHECK(message == head + "AUTHENTICATION-INFO: 4880de4b8cead98c95813fd9b95e240b107d4693\r\n\r\n");
}

}  // namespace
}  // namespace flowtap::test
