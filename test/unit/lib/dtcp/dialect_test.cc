// Messages as the clients of real mediation devices write them (dtcp.md sections 1, 2 and 7).
#include "lib/dtcp/framing.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

/// As the clients do: the lines of a template file, then Seq, the digest over all of it, and the empty line.
std::string client_message(std::initializer_list<std::string_view> texts, std::string_view seq = "1",
                           std::string_view line_end = "\r\n") {
    auto key = hmac("Juniper");
    std::string message = lines(texts, line_end);
    message += "Seq: " + std::string{seq} + std::string{line_end};
    message += "Authentication-Info: " + key.hex(message);
    return message + std::string{line_end} + std::string{line_end};
}

TEST_CASE("dialect: an ADD with a wildcard for all that is not restricted", "[dtcp][dtcp:6.missing]") {
    auto key = hmac("Juniper");
    const std::string raw =
        client_message({"ADD DTCP/0.7", "Csource-ID: ftap1", "Cdest-ID: cd1", "Source-Address: 10.0.0.1",
                        "Dest-Address: *", "Source-Port: *", "Dest-Port: *", "Protocol: 1", "Priority: 2",
                        "X-JTap-Cdest-Dest-Address: 203.0.113.2", "X-JTap-Cdest-Dest-Port: 7890",
                        "X-JTap-Cdest-Source-Address: 198.51.100.1", "X-JTap-Cdest-Source-Port: 49153",
                        "X-JTap-Cdest-TTL: 10", "Flags: STATIC"});
    const auto request = dtcp::parse_request(raw);
    CHECK(key.verify(request));
    const auto add = dtcp::parse_add(request);
    REQUIRE(add);
    CHECK(add->criterion.source_port.empty());
    CHECK(add->criterion.dest_port.empty());
    CHECK(add->criterion.dest_address.empty());
    CHECK(add->criterion.protocol == lib::NumberList{{1, 1, false}});
    CHECK(add->is_static);
}

TEST_CASE("dialect: two destinations, one source, IPv6, eight interfaces", "[dtcp][dtcp:7.interfaces]") {
    const std::string raw = client_message(
        {"ADD DTCP/0.7", "Csource-ID: ftap1", "Cdest-ID: cd1,cd2", "Source-Address: 2001:db8::1",
         "Dest-Address: *", "Source-Port: 1000", "Dest-Port: *", "Protocol: 17", "Priority: 2",
         "X-JTap-Cdest-Dest-Address: 203.0.113.2,203.0.113.3", "X-JTap-Cdest-Dest-Port: 7890,7891",
         "X-JTap-Cdest-Source-Address: 198.51.100.1", "X-JTap-Cdest-Source-Port: 49153",
         "X-JTap-Input-Interface: "
         "xe-0/0/0.0,xe-0/0/0.1,xe-0/0/0.2,xe-0/0/0.3,xe-0/0/0.4,xe-0/0/0.5,xe-0/0/0.6,xe-0/0/0.7",
         "X-JTap-IP-Version: ipv6", "X-JTap-Cdest-TTL: 10", "Flags: STATIC"});
    const auto add = dtcp::parse_add(dtcp::parse_request(raw));
    REQUIRE(add);
    REQUIRE(add->cdests.size() == 2);
    CHECK(add->cdests[1].dest_port == 7891);
    CHECK(add->cdests[1].source_port == 49153);
    CHECK(add->interfaces.size() == 8);
    CHECK(add->criterion.family == lib::Family::ipv6);
}

TEST_CASE("dialect: X-Jtap-Filter-Family: ccc beside Protocol: *",
          "[dtcp][dtcp:2.dialect][dtcp:7.ccc-no-filter]") {
    const std::string raw =
        client_message({"ADD DTCP/0.8", "Csource-ID: ftap1", "Cdest-ID: cd1", "Protocol: *", "Priority: 2",
                        "X-JTap-Output-Interface: xe-0/0/0", "X-Jtap-Filter-Family: ccc",
                        "X-JTap-Cdest-TTL: 10", "Flags: STATIC"});
    const auto add = dtcp::parse_add(dtcp::parse_request(raw));
    REQUIRE(add);
    CHECK(add->layer2);
}

TEST_CASE(
    "dialect: a subscriber trigger with parameters of other systems and a 4-byte or padded intercept id",
    "[dtcp][dtcp:2.unknown-x][dtcp:7.intercept-id-form]") {
    const std::string raw = client_message(
        {"ADD DTCP/0.7", "Csource-ID: LI-user", "Cdest-ID: md1", "Priority: 2",
         "X-Interface-Id: demux0.1073741825", "X-Logical-System: default", "X-Router-Instance: default",
         "X-MD-Intercept-Id: 41414141", "X-RM-Circuit-id: ae0.1", "Flags: STATIC"});
    const auto request = dtcp::parse_request(raw);
    CHECK(request.ignored() == 3);
    const auto add = dtcp::parse_add(request);
    REQUIRE(add);
    CHECK(add->intercept_id == dtcp::InterceptId{0x41414141, true});
    const std::string padded = client_message({"ADD DTCP/0.7", "Csource-ID: a", "Cdest-ID: b",
                                               "X-MD-Intercept-Id: 001122334455667788", "Flags: STATIC"});
    CHECK(dtcp::parse_add(dtcp::parse_request(padded))->intercept_id ==
          dtcp::InterceptId{0x1122334455667788, false});
}

TEST_CASE("dialect: CDest-ID, two spaces after the colon, LF line ends, every message with Seq: 1",
          "[dtcp][dtcp:2.dialect]") {
    auto key = hmac("Juniper");
    const std::string stream =
        client_message({"LIST DTCP/0.7", "Csource-ID: ftap1", "Flags:  BOTH"}) +
        client_message({"LIST DTCP/0.7", "Csource-ID: ftap1", "CDest-ID: cd1", "Flags: Criteria"}, "1",
                       "\n") +
        "\n" + client_message({"DELETE DTCP/0.7", "Csource-ID: ftap1", "CDest-ID: cd1", "Flags: STATIC"}) +
        client_message({"DELETE DTCP/0.7", "Csource-ID: ftap1", "CRITERIA-ID: 12", "Flags: STATIC"});
    dtcp::Splitter splitter;
    std::string_view input = stream;
    std::size_t count = 0;
    for (auto message = splitter.next(input); message && *message; message = splitter.next(input)) {
        const auto request = dtcp::parse_request(**message);
        CHECK_FALSE(request.failure());
        CHECK(key.verify(request));
        CHECK(dtcp::parse_envelope(request)->seq == 1);
        CHECK(dtcp::parse_typed(request));
        ++count;
    }
    CHECK(count == 4);
}

}  // namespace
}  // namespace flowtap::test
