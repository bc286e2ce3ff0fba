#include "lib/dtcp/filter.h"

#include "test/unit/lib/dtcp/allocations.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <initializer_list>
#include <string>
#include <string_view>

namespace flowtap::test {
namespace {

using dtcp::Code;

std::expected<lib::Criterion, dtcp::Failure> filter(std::initializer_list<std::string_view> texts,
                                                    std::string_view version = "0.8") {
    const std::string raw = "ADD DTCP/" + std::string{version} + "\r\n" + whole(texts);
    return dtcp::parse_filter(dtcp::parse_request(raw));
}

/// The criterion as text, or the failure's line.
std::string compiled(std::initializer_list<std::string_view> texts) {
    const auto criterion = filter(texts);
    return criterion ? dtcp::to_string(*criterion) : "failure: " + criterion.error().line;
}

void refused(std::string_view line, Code code = Code::improper_filter) {
    CAPTURE(line);
    CHECK(fails_with(filter({line}), code, line));
}

TEST_CASE("6: a missing element is a wildcard", "[dtcp][dtcp:6.missing]") {
    CHECK(compiled({}) == "ipv4");
    CHECK(lib::term_count(*filter({})) == 0);
}

TEST_CASE("6: an address entry is A, A/len, A-B, A-*, *-B or *", "[dtcp][dtcp:6.address-forms]") {
    CHECK(compiled({"Source-Address: 10.0.0.1"}) == "ipv4 source-address=10.0.0.1");
    CHECK(compiled({"Source-Address: 10.0.0.0/8"}) == "ipv4 source-address=10.0.0.0-10.255.255.255");
    CHECK(compiled({"Source-Address: 0.0.0.0/0"}) == "ipv4 source-address=0.0.0.0-255.255.255.255");
    CHECK(compiled({"Source-Address: 10.0.0.1/32"}) == "ipv4 source-address=10.0.0.1");
    CHECK(compiled({"Dest-Address: 10.1.1.1-10.1.1.10"}) == "ipv4 dest-address=10.1.1.1-10.1.1.10");
    CHECK(compiled({"Dest-Address: 10.1.1.1-10.1.1.1"}) == "ipv4 dest-address=10.1.1.1");
    CHECK(compiled({"Dest-Address: 10.1.1.1-*"}) == "ipv4 dest-address=10.1.1.1-255.255.255.255");
    CHECK(compiled({"Dest-Address: *-10.1.1.1"}) == "ipv4 dest-address=0.0.0.0-10.1.1.1");
    CHECK(compiled({"Dest-Address: *"}) == "ipv4");
    CHECK(compiled({"Source-Address: 2001:db8::/32"}) ==
          "ipv6 source-address=2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    CHECK(compiled({"Source-Address: 2001:db8::1-*"}) ==
          "ipv6 source-address=2001:db8::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    CHECK(compiled({"Source-Address: *-2001:DB8::1"}) == "ipv6 source-address=::-2001:db8::1");
}

TEST_CASE("6: a number entry is N, N-M, N-*, *-M or *", "[dtcp][dtcp:6.number-forms]") {
    CHECK(compiled({"Protocol: 6"}) == "ipv4 protocol=6");
    CHECK(compiled({"Protocol: 6-17"}) == "ipv4 protocol=6-17");
    CHECK(compiled({"Protocol: 6-*"}) == "ipv4 protocol=6-255");
    CHECK(compiled({"Protocol: *-17"}) == "ipv4 protocol=0-17");
    CHECK(compiled({"Protocol: *"}) == "ipv4");
    CHECK(compiled({"Source-Port: 1024-*"}) == "ipv4 source-port=1024-65535");
    CHECK(compiled({"Dest-Port: *-1023"}) == "ipv4 dest-port=0-1023");
    CHECK(compiled({"ICMP-Type: 8", "ICMP-Code: 0-*"}) == "ipv4 icmp-type=8 icmp-code=0-255");
    CHECK(compiled({"Protocol: 007"}) == "ipv4 protocol=7");
}

TEST_CASE("6: a value is a comma list, each entry negated by a leading !", "[dtcp][dtcp:6.lists]") {
    CHECK(compiled({"Protocol: 6,17"}) == "ipv4 protocol=6,17");
    CHECK(compiled({"Protocol: 0-*,!17,!50-51"}) == "ipv4 protocol=0-255,!17,!50-51");
    CHECK(compiled({"Source-Address: 10.0.0.0/8,!10.0.0.7,!10.1.0.0-10.1.0.9"}) ==
          "ipv4 source-address=10.0.0.0-10.255.255.255,!10.0.0.7,!10.1.0.0-10.1.0.9");
    CHECK(compiled({"Dest-Port: !53"}) == "ipv4 dest-port=!53");
    CHECK(compiled({"Dest-Port: !*-53"}) == "ipv4 dest-port=!0-53");
}

TEST_CASE("6: * among the positive entries makes all of them idle", "[dtcp][dtcp:6.list-meaning]") {
    CHECK(compiled({"Source-Address: 10.0.0.1,*"}) == "ipv4");
    CHECK(compiled({"Source-Address: *,!10.0.0.1"}) == "ipv4 source-address=!10.0.0.1");
    CHECK(compiled({"Dest-Port: *,53,!80"}) == "ipv4 dest-port=!80");
    CHECK(compiled({"Dest-Port: *", "Source-Port: *", "Protocol: 1"}) == "ipv4 protocol=1");
}

TEST_CASE("6: !* matches nothing, in the family of the criterion", "[dtcp][dtcp:6.list-meaning]") {
    CHECK(compiled({"Source-Address: !*"}) == "ipv4 source-address=!0.0.0.0-255.255.255.255");
    CHECK(compiled({"Source-Address: !*", "Dest-Address: ::1"}) ==
          "ipv6 source-address=!::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff dest-address=::1");
    CHECK(compiled({"Dest-Address: !*"}) == "ipv4 dest-address=!0.0.0.0-255.255.255.255");
    CHECK(compiled({"Protocol: !*"}) == "ipv4 protocol=!0-255");
    CHECK(compiled({"Protocol: !*,6"}) == "ipv4 protocol=!0-255,6");
}

TEST_CASE("6: white space around entries and range ends is ignored", "[dtcp]") {
    CHECK(compiled({"Protocol: 6 , 17 ,! 50 - 51"}) == "ipv4 protocol=6,17,!50-51");
    CHECK(compiled({"Source-Address: 10.0.0.1 - 10.0.0.9 ,\t! 10.0.0.3"}) ==
          "ipv4 source-address=10.0.0.1-10.0.0.9,!10.0.0.3");
}

TEST_CASE("2: an escaped byte is never a delimiter", "[dtcp][dtcp:2.escape-no-delimiter]") {
    CHECK(compiled({"Protocol: \\049\\055"}) == "ipv4 protocol=17");
    CHECK(compiled({"Source-Address: 10\\0460.0.1"}) == "ipv4 source-address=10.0.0.1");
    CHECK(compiled({"Source-Address: 10.0.0.\\048/\\056"}) == "ipv4 source-address=10.0.0.0-10.255.255.255");
    CHECK(compiled({"Source-Address: 10.0.0.\\048/2\\052"}) == "ipv4 source-address=10.0.0.0-10.0.0.255");
    refused("Protocol: 6\\04417");              // ,
    refused("Protocol: \\0336");                // !
    refused("Protocol: 6\\04517");              // -
    refused("Protocol: \\042");                 // *
    refused("Source-Address: 10.0.0.0\\0478");  // /
    refused("Source-Address: 10.0.0.1\\04510.0.0.2");
    refused("Source-Address: \\042");
    refused("Protocol: \\6");
}

TEST_CASE("6: values out of range or unreadable are 432 with their line", "[dtcp][dtcp:6.range-432]") {
    for (const std::string_view line : {"Protocol: 256",
                                        "Protocol: -1",
                                        "Protocol: 6,",
                                        "Protocol: ,6",
                                        "Protocol: 6,,17",
                                        "Protocol:",
                                        "Protocol: tcp",
                                        "Protocol: 6-",
                                        "Protocol: -6",
                                        "Protocol: 1-2-3",
                                        "Protocol: *-*",
                                        "Protocol: !",
                                        "Protocol: !!6",
                                        "Protocol: 6!",
                                        "Protocol: 0x6",
                                        "Protocol: 99999999999999999999",
                                        "Source-Port: 65536",
                                        "Dest-Port: 65536",
                                        "ICMP-Type: 256",
                                        "ICMP-Code: 256",
                                        "Source-Address: 10.0.0",
                                        "Source-Address: 10.0.0.256",
                                        "Source-Address: 10.0.0.01",
                                        "Source-Address:",
                                        "Source-Address: 10.0.0.1,",
                                        "Source-Address: 10.0.0.0/33",
                                        "Source-Address: ::/129",
                                        "Source-Address: 10.0.0.0/",
                                        "Source-Address: 10.0.0.0/-1",
                                        "Source-Address: 10.0.0.0/8-10.0.0.1",
                                        "Source-Address: *-*",
                                        "Source-Address: 10.0.0.1-",
                                        "Source-Address: -10.0.0.1",
                                        "Source-Address: */8",
                                        "Source-Address: host.example",
                                        "Dest-Address: !",
                                        "Dest-Address: !!10.0.0.1",
                                        "Dest-Address: 10.0.0.1\\000",
                                        "Dest-Address: ::ffff:1.2.3.4.5",
                                        "Dest-Address: fe80::1%eth0"}) {
        refused(line);
    }
}

TEST_CASE("6: a reversed range is 432", "[dtcp][dtcp:6.reversed-432]") {
    refused("Protocol: 17-6");
    refused("Dest-Port: 80,!90-81");
    refused("Source-Address: 10.0.0.2-10.0.0.1");
    refused("Source-Address: ::2-::1");
}

TEST_CASE("6: a prefix with host bits set is 432: it would tap more than the address that was written",
          "[dtcp]") {
    refused("Source-Address: 10.0.0.1/8");
    refused("Source-Address: 2001:db8::1/64");
}

TEST_CASE("6: IPv4 and IPv6 are never mixed in one criterion", "[dtcp][dtcp:6.one-family]") {
    refused("Source-Address: 10.0.0.1,::1");
    refused("Source-Address: 10.0.0.1-::1");
    refused("Source-Address: ::1-10.0.0.1");
    CHECK(fails_with(filter({"Source-Address: 10.0.0.1", "Dest-Address: ::1"}), Code::improper_filter,
                     "Dest-Address: ::1"));
    CHECK(compiled({"Source-Address: *", "Dest-Address: ::1"}) == "ipv6 dest-address=::1");
}

TEST_CASE("7: X-JTap-IP-Version: ipv6 makes the filter IPv6; addresses have to agree",
          "[dtcp][dtcp:7.ip-version]") {
    CHECK(compiled({"X-JTap-IP-Version: ipv6", "Protocol: 58"}) == "ipv6 protocol=58");
    CHECK(compiled({"X-JTap-IP-Version: IPv6", "Source-Address: *"}) == "ipv6");
    CHECK(compiled({"X-JTap-IP-Version: ipv4", "Source-Address: 10.0.0.1"}) ==
          "ipv4 source-address=10.0.0.1");
    CHECK(fails_with(filter({"X-JTap-IP-Version: ipv6", "Source-Address: 10.0.0.1"}), Code::improper_filter,
                     "Source-Address: 10.0.0.1"));
    CHECK(fails_with(filter({"X-JTap-IP-Version: ipv4", "Dest-Address: ::1"}), Code::improper_filter,
                     "Dest-Address: ::1"));
    refused("X-JTap-IP-Version: ipx", Code::not_implemented);
}

TEST_CASE("7: X-IP-Addr says the family too", "[dtcp][dtcp:7.ip-addr]") {
    CHECK(compiled({"X-IP-Addr: 2001:db8::1"}) == "ipv6");
    CHECK(compiled({"X-IP-Addr: 10.0.0.1"}) == "ipv4");
    CHECK(fails_with(filter({"X-IP-Addr: ::1", "Dest-Address: 10.0.0.1"}), Code::improper_filter,
                     "Dest-Address: 10.0.0.1"));
    refused("X-IP-Addr: somewhere", Code::bad_request);
}

TEST_CASE("4: 0.5 and 0.6 have no IPv6", "[dtcp][dtcp:4.no-ipv6]") {
    for (const std::string_view version : {"0.5", "0.6"}) {
        for (const std::string_view line :
             {"Source-Address: ::1", "Dest-Address: !::1-*", "X-JTap-IP-Version: ipv6", "X-IP-Addr: ::1"}) {
            CHECK(fails_with(filter({line}, version), Code::improper_filter, line));
        }
        CHECK(filter({"Source-Address: 10.0.0.1", "X-JTap-IP-Version: ipv4"}, version));
    }
    CHECK(filter({"Source-Address: ::1"}, "0.7"));
}

TEST_CASE("6: ports together with a protocol list that excludes every port protocol are 432",
          "[dtcp][dtcp:6.port-protocols][dtcp:6.ports-432]") {
    for (const std::string_view protocols :
         {"Protocol: 1", "Protocol: 50,51", "Protocol: !6,!17,!33,!132,!136", "Protocol: 34-131",
          "Protocol: !*"}) {
        CAPTURE(protocols);
        CHECK(fails_with(filter({protocols, "Dest-Port: 53"}), Code::improper_filter, "Dest-Port: 53"));
        CHECK(fails_with(filter({"Source-Port: !53", protocols}), Code::improper_filter, "Source-Port: !53"));
    }
    for (const std::string_view protocols :
         {"Protocol: 6", "Protocol: 17", "Protocol: 33", "Protocol: 132", "Protocol: 136", "Protocol: 1,17",
          "Protocol: !6", "Protocol: *", "Protocol: 0-*"}) {
        CAPTURE(protocols);
        CHECK(filter({protocols, "Dest-Port: 53"}));
    }
    CHECK(filter({"Dest-Port: 53"}));
}

TEST_CASE("6: ICMP type or code with a protocol list that excludes ICMP, or with ports, is 432",
          "[dtcp][dtcp:6.icmp-protocols]") {
    CHECK(fails_with(filter({"Protocol: 6", "ICMP-Type: 8"}), Code::improper_filter, "ICMP-Type: 8"));
    CHECK(fails_with(filter({"Protocol: !1,!58", "ICMP-Code: 0"}), Code::improper_filter, "ICMP-Code: 0"));
    CHECK(fails_with(filter({"Dest-Port: 53", "ICMP-Code: 0"}), Code::improper_filter, "ICMP-Code: 0"));
    CHECK(filter({"Protocol: 1", "ICMP-Type: 8"}));
    CHECK(filter({"Protocol: 58", "ICMP-Type: 128", "X-JTap-IP-Version: ipv6"}));
    CHECK(filter({"ICMP-Type: 8", "Dest-Port: *"}));
}

std::string entries(std::size_t count) {
    std::string list = "Protocol: 1";
    for (std::size_t i = 1; i < count; ++i) {
        list += ",1";
    }
    return list;
}

TEST_CASE("6: 1,024 terms a criterion are taken, one more is 432", "[dtcp][dtcp:6.bounded]") {
    CHECK(lib::term_count(*filter({entries(1024)})) == 1024);
    const std::string too_many = entries(1025);
    CHECK(fails_with(filter({too_many}), Code::improper_filter, too_many));
    const std::string most = entries(1023);
    CHECK(filter({most, "Dest-Address: 10.0.0.1"}));
    CHECK(fails_with(filter({"Dest-Address: 10.0.0.1,10.0.0.2", most}), Code::improper_filter, most));
}

TEST_CASE("6: too many terms are refused before anything but the answer's line is allocated",
          "[dtcp][as-shipped][dtcp:6.bounded]") {
    const std::string line = entries(30'000);
    const std::string raw = "ADD DTCP/0.8\r\n" + whole({line});
    const auto request = dtcp::parse_request(raw);
    const Allocations before;
    const auto criterion = dtcp::parse_filter(request);
    CHECK(before.bytes_since() <= 2 * line.size() + 64);
    CHECK_FALSE(criterion);
}

}  // namespace
}  // namespace flowtap::test
