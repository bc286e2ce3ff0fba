#include "lib/dtcp/add.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

using dtcp::Code;

lib::IpAddress address(std::string_view text) {
    return lib::parse_address(text).value();
}

TEST_CASE("7: X-JTap-Cdest-* say where copies go and from where",
          "[dtcp][dtcp:7.cdest-dest][dtcp:7.cdest-source][dtcp:7.cdest-ttl]") {
    const auto full = add({"X-JTap-Cdest-Dest-Address: 203.0.113.1", "X-JTap-Cdest-Dest-Port: 7890",
                           "X-JTap-Cdest-Source-Address: 198.51.100.1", "X-JTap-Cdest-Source-Port: 12321",
                           "X-JTap-Cdest-TTL: 64"});
    REQUIRE(full);
    CHECK(full->cdests == std::vector<dtcp::Cdest>{
                              {"cd1", address("203.0.113.1"), 7890, address("198.51.100.1"), 12321, 64}});
    const auto none = add({});
    REQUIRE(none);
    CHECK(none->cdests == std::vector<dtcp::Cdest>{{.id = "cd1"}});
    CHECK(add({"X-JTap-Cdest-Dest-Address: 2001:db8::1"})->cdests[0].dest_address == address("2001:db8::1"));
}

TEST_CASE("7: destination lists have one entry for each Cdest-ID entry; another number is 432",
          "[dtcp][dtcp:7.cdest-lists]") {
    const auto two = [](std::initializer_list<std::string_view> texts) {
        const std::string raw = "ADD DTCP/0.7\r\nCdest-ID: a,b\r\nFlags: STATIC\r\n" + whole(texts);
        return dtcp::parse_add(dtcp::parse_request(raw));
    };
    const auto good =
        two({"X-JTap-Cdest-Dest-Address: 203.0.113.1,203.0.113.2", "X-JTap-Cdest-Dest-Port: 1,2",
             "X-JTap-Cdest-Source-Address: 198.51.100.1,198.51.100.2", "X-JTap-Cdest-Source-Port: 3 , 4",
             "X-JTap-Cdest-TTL: 5,6"});
    REQUIRE(good);
    CHECK(good->cdests ==
          std::vector<dtcp::Cdest>{{"a", address("203.0.113.1"), 1, address("198.51.100.1"), 3, 5},
                                   {"b", address("203.0.113.2"), 2, address("198.51.100.2"), 4, 6}});
    for (const std::string_view bad :
         {"X-JTap-Cdest-Dest-Address: 203.0.113.1", "X-JTap-Cdest-Dest-Port: 1,2,3",
          "X-JTap-Cdest-Dest-Port: 1", "X-JTap-Cdest-Source-Address: 1.1.1.1,1.1.1.2,1.1.1.3",
          "X-JTap-Cdest-Source-Port: 1,2,3", "X-JTap-Cdest-TTL: 1,2,3"}) {
        CHECK(fails_with(two({bad}), Code::improper_filter, bad));
    }
    CHECK(fails_with(add({"X-JTap-Cdest-Dest-Address: 1.1.1.1,1.1.1.2"}), Code::improper_filter,
                     "X-JTap-Cdest-Dest-Address: 1.1.1.1,1.1.1.2"));
}

TEST_CASE("7: one source address, port and TTL go with every destination", "[dtcp][dtcp:7.cdest-source]") {
    const std::string raw = "ADD DTCP/0.7\r\nCdest-ID: a,b\r\nFlags: STATIC\r\n" +
                            whole({"X-JTap-Cdest-Source-Address: 198.51.100.1", "X-JTap-Cdest-Source-Port: 3",
                                   "X-JTap-Cdest-TTL: 5"});
    const auto add = dtcp::parse_add(dtcp::parse_request(raw));
    REQUIRE(add);
    for (const dtcp::Cdest& cdest : add->cdests) {
        CHECK(cdest.source_address == address("198.51.100.1"));
        CHECK(cdest.source_port == 3);
        CHECK(cdest.ttl == 5);
    }
}

TEST_CASE("7: an unreadable address, port or TTL is 400 with its line",
          "[dtcp][dtcp:7.cdest-form][dtcp:9.400-range]") {
    for (const std::string_view bad : {"X-JTap-Cdest-Dest-Address: here", "X-JTap-Cdest-Dest-Address:",
                                       "X-JTap-Cdest-Dest-Address: 10.0.0.0/8", "X-JTap-Cdest-Dest-Port: 0",
                                       "X-JTap-Cdest-Dest-Port: 65536", "X-JTap-Cdest-Source-Address: *",
                                       "X-JTap-Cdest-Source-Port: 65536", "X-JTap-Cdest-Source-Port: x",
                                       "X-JTap-Cdest-TTL: 0", "X-JTap-Cdest-TTL: 256"}) {
        CHECK(fails_with(add({bad}), Code::bad_request, bad));
    }
    CHECK(add({"X-JTap-Cdest-TTL: 255", "X-JTap-Cdest-Source-Port: 0"}));
}

TEST_CASE("7: an encapsulation header of two families is 901", "[dtcp][dtcp:7.cdest-form]") {
    CHECK(fails_with(add({"X-JTap-Cdest-Dest-Address: 203.0.113.1", "X-JTap-Cdest-Source-Address: ::1"}),
                     Code::jtap_failure, "X-JTap-Cdest-Source-Address: ::1"));
}

TEST_CASE("4: 0.5 and 0.6 deliver over IPv4 only", "[dtcp][dtcp:4.no-ipv6]") {
    CHECK(fails_with(add({"X-JTap-Cdest-Dest-Address: ::1"}, "0.6"), Code::jtap_failure,
                     "X-JTap-Cdest-Dest-Address: ::1"));
    CHECK(fails_with(add({"X-JTap-Cdest-Source-Address: ::1"}, "0.5"), Code::jtap_failure,
                     "X-JTap-Cdest-Source-Address: ::1"));
    CHECK(add({"X-JTap-Cdest-Dest-Address: ::1"}, "0.7"));
}

TEST_CASE("7: X-JTap-VRF-Name is one name", "[dtcp][dtcp:7.vrf]") {
    const auto vrf = add({"X-JTap-VRF-Name: blue_1"});
    REQUIRE(vrf);
    CHECK(vrf->vrf == "blue_1");
    CHECK(vrf->place_line == "X-JTap-VRF-Name: blue_1");
    CHECK_FALSE(add({})->vrf);
    CHECK(fails_with(add({"X-JTap-VRF-Name: a,b"}), Code::bad_request, "X-JTap-VRF-Name: a,b"));
    CHECK(fails_with(add({"X-JTap-VRF-Name:"}), Code::bad_request, "X-JTap-VRF-Name:"));
}

TEST_CASE("7: interfaces are up to 8 names; a missing unit means unit 0", "[dtcp][dtcp:7.interfaces]") {
    const auto input = add({"X-JTap-Input-Interface: xe-0/0/0.100 , xe-0/0/1,ae0.0"});
    REQUIRE(input);
    CHECK(input->interface_direction == dtcp::InterfaceDirection::input);
    CHECK(input->interfaces ==
          std::vector<dtcp::InterfaceName>{{"xe-0/0/0", 100}, {"xe-0/0/1", 0}, {"ae0", 0}});
    CHECK(input->place_line == "X-JTap-Input-Interface: xe-0/0/0.100 , xe-0/0/1,ae0.0");
    const auto output = add({"X-JTap-Output-Interface: a.b.4094"});
    REQUIRE(output);
    CHECK(output->interface_direction == dtcp::InterfaceDirection::output);
    CHECK(output->interfaces == std::vector<dtcp::InterfaceName>{{"a.b", 4094}});
    CHECK(add({"X-JTap-Input-Interface: port.,.5"})->interfaces ==
          std::vector<dtcp::InterfaceName>{{"port.", 0}, {".5", 0}});
    CHECK(add({})->interface_direction == dtcp::InterfaceDirection::any);

    CHECK(add({"X-JTap-Input-Interface: 1,2,3,4,5,6,7,8"})->interfaces.size() == 8);
    for (const std::string_view bad :
         {"X-JTap-Input-Interface: 1,2,3,4,5,6,7,8,9", "X-JTap-Output-Interface: a,,b",
          "X-JTap-Output-Interface: xe.4095", "X-JTap-Output-Interface:"}) {
        CHECK(fails_with(add({bad}), Code::bad_request, bad));
    }
}

TEST_CASE("7: VRF, input interface and output interface exclude one another: 432",
          "[dtcp][dtcp:7.one-place]") {
    CHECK(fails_with(add({"X-JTap-VRF-Name: a", "X-JTap-Input-Interface: b"}), Code::improper_filter,
                     "X-JTap-Input-Interface: b"));
    CHECK(fails_with(add({"X-JTap-Output-Interface: a", "X-JTap-VRF-Name: b"}), Code::improper_filter,
                     "X-JTap-VRF-Name: b"));
    CHECK(fails_with(add({"X-JTap-Input-Interface: a", "X-JTap-Output-Interface: b"}), Code::improper_filter,
                     "X-JTap-Output-Interface: b"));
}

TEST_CASE("7: family ccc copies layer 2 of the named interface, in 0.8",
          "[dtcp][dtcp:7.ccc][dtcp:9.501-value]") {
    const auto ccc = add({"X-Jtap-Filter-Family: CCC", "X-JTap-Input-Interface: xe-0/0/0.5"});
    REQUIRE(ccc);
    CHECK(ccc->layer2);
    CHECK_FALSE(add({})->layer2);
    CHECK(fails_with(add({"X-JTap-Filter-Family: ccc", "X-JTap-Input-Interface: a"}, "0.7"),
                     Code::not_implemented, "X-JTap-Filter-Family: ccc"));
    CHECK(fails_with(add({"X-JTap-Filter-Family: inet", "X-JTap-Input-Interface: a"}), Code::not_implemented,
                     "X-JTap-Filter-Family: inet"));
    CHECK(fails_with(add({"X-JTap-Filter-Family: ccc"}), Code::jtap_failure, "X-JTap-Filter-Family: ccc"));
}

TEST_CASE("7: with family ccc no L3 or L4 filter element may be present: 432 with its line",
          "[dtcp][dtcp:7.ccc-no-filter]") {
    for (const std::string_view element :
         {"Source-Address: 10.0.0.1", "Dest-Address: !10.0.0.1", "Protocol: 6", "Source-Port: 1",
          "Dest-Port: 1", "ICMP-Type: 1", "ICMP-Code: 1", "X-IP-Addr: 10.0.0.1", "Source-Address: 10.0.0.1,*",
          "Protocol: 6,*"}) {
        CHECK(fails_with(add({"X-JTap-Filter-Family: ccc", "X-JTap-Input-Interface: a", element}),
                         Code::improper_filter, element));
    }
    // Real clients write a wildcard beside it, which is the same as nothing.
    CHECK(add({"X-JTap-Filter-Family: ccc", "X-JTap-Input-Interface: a", "Protocol: *"}));
}

TEST_CASE("7: X-MD-Intercept-Id is hex of 8 bytes, 0x optional; Junos's short form has 4",
          "[dtcp][dtcp:7.intercept-id-form]") {
    const auto id = [](std::string_view text) { return add({"X-MD-Intercept-Id: " + std::string{text}}); };
    CHECK(id("0123456789abcdef")->intercept_id == dtcp::InterceptId{0x0123456789abcdef, false});
    CHECK(id("0x0123456789ABCDEF")->intercept_id == dtcp::InterceptId{0x0123456789abcdef, false});
    CHECK(id("0Xffffffffffffffff")->intercept_id == dtcp::InterceptId{0xffffffffffffffff, false});
    CHECK(id("41414141")->intercept_id == dtcp::InterceptId{0x41414141, true});
    CHECK(id("0x1")->intercept_id == dtcp::InterceptId{1, true});
    CHECK(id("000000001")->intercept_id == dtcp::InterceptId{1, false});
    CHECK_FALSE(add({})->intercept_id);
    for (const std::string_view bad :
         {"x", "0x", "1ffffffffffffffff", "-1", "+1", "0x-1", "12 34", "0x0x1"}) {
        CHECK(fails_with(id(bad), Code::bad_request, "X-MD-Intercept-Id: " + std::string{bad}));
    }
    CHECK(fails_with(add({"X-MD-Intercept-Id:"}), Code::bad_request, "X-MD-Intercept-Id:"));
}

TEST_CASE("7: X-IP-Addr and X-Interface-Id are taken", "[dtcp][dtcp:7.interface-id][dtcp:7.ip-addr]") {
    const auto both = add({"X-IP-Addr: 2001:db8::7", "X-Interface-Id: demux0.107472834"});
    REQUIRE(both);
    CHECK(both->subscriber_address == address("2001:db8::7"));
    CHECK(both->subscriber_interface == "demux0.107472834");
    CHECK(fails_with(add({"X-IP-Addr: 10.0.0.0/8"}), Code::bad_request, "X-IP-Addr: 10.0.0.0/8"));
    CHECK(fails_with(add({"X-Interface-Id:"}), Code::bad_request, "X-Interface-Id:"));
}

TEST_CASE("7: X-UserName and X-Act-Sess-Id are 501 with the line",
          "[dtcp][dtcp:7.user-name][dtcp:7.act-sess-id]") {
    CHECK(fails_with(add({"X-UserName: alice"}), Code::not_implemented, "X-UserName: alice"));
    CHECK(fails_with(add({"X-Act-Sess-Id: 12"}), Code::not_implemented, "X-Act-Sess-Id: 12"));
}

}  // namespace
}  // namespace flowtap::test
