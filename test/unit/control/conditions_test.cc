// Interfaces, VRFs, whole frames and subscriber triggers (dtcp.md section 7), as what the dataplane is given.
#include "test/unit/control/dialogue.h"

#include <array>

namespace flowtap::test {

namespace {

constexpr std::uint16_t port_a = 0;
constexpr std::uint16_t port_b = 1;

lib::InterfaceList interfaces(Box& box, std::string_view line) {
    const auto id = add(box, {line}, "b");
    const auto criterion = box.criterion(id);
    REQUIRE(criterion);
    return criterion->interfaces;
}

std::string value_in_list(Box& box, lib::dtcp::Name name) {
    return value(one(box.ask(request("LIST", {}))), name);
}

lib::IpAddress ip(std::uint8_t last) {
    return {lib::Family::ipv4, {10, 0, 0, last}};
}

}  // namespace

TEST_CASE("Input-Interface is where frames come in: the unit is the VLAN id, none is untagged",
          "[dtcp:7.input-interface][dtcp:7.interfaces]") {
    Box box;
    CHECK(interfaces(box, "X-JTap-Input-Interface: a") == lib::InterfaceList{{port_a, 0}});
    CHECK(interfaces(box, "X-JTap-Input-Interface: a.0") == lib::InterfaceList{{port_a, 0}});
    CHECK(interfaces(box, "X-JTap-Input-Interface: ge-0.100") == lib::InterfaceList{{port_a, 100}});
    CHECK(interfaces(box, "X-JTap-Input-Interface: ge-7.3") == lib::InterfaceList{{port_b, 700}});
    CHECK(interfaces(box, "X-JTap-Input-Interface: trunk") == lib::InterfaceList{{port_a, lib::any_vlan}});
    CHECK(interfaces(box, "X-JTap-Input-Interface: a.5, b.6,a.5") ==
          lib::InterfaceList{{port_a, 5}, {port_b, 6}});
    CHECK(interfaces(box, "Protocol: 6").empty());
}

TEST_CASE("Output-Interface is what comes in at the wire's other port; a VRF and X-Interface-Id are both",
          "[dtcp:7.vrf][dtcp:7.output-interface][dtcp:7.interface-id]") {
    Box box;
    CHECK(interfaces(box, "X-JTap-Output-Interface: a.9") == lib::InterfaceList{{port_b, 9}});
    CHECK(interfaces(box, "X-Interface-Id: ge-7.3") == lib::InterfaceList{{port_b, 700}, {port_a, 700}});
    CHECK(interfaces(box, "X-JTap-VRF-Name: red") ==
          lib::InterfaceList{{port_a, 100}, {port_b, 100}, {port_b, 0}, {port_a, 0}});
}

TEST_CASE("a VRF or interface that is not configured, or on no wire, is 901 with the line",
          "[dtcp:7.unknown-place][dtcp:9.901]") {
    Box box;
    for (const auto line :
         {"X-JTap-VRF-Name: blue", "X-JTap-Input-Interface: a,zz", "X-JTap-Output-Interface: d",
          "X-Interface-Id: demux0.107472834", "X-JTap-Input-Interface: ge-7",
          "X-JTap-Input-Interface: ge-7.4", "X-JTap-Input-Interface: trunk.3"}) {
        const auto answer = box.ask(add_message(1, {line}));
        CHECK(one(answer).code == 901);
        CHECK(answer.find(fmt::format("\r\n{}\r\n", line)) != std::string::npos);
    }
    CHECK(one(box.ask(add_message(1, {"X-Interface-Id: a", "X-JTap-VRF-Name: red"}))).code == 432);
    CHECK(box.installed().empty());
}

TEST_CASE("Filter-Family ccc taps whole frames of the interfaces", "[dtcp:7.ccc]") {
    Box box;
    auto text =
        add_message(1, {"Source-Address: *", "X-JTap-Input-Interface: trunk", "X-JTap-Filter-Family: ccc"});
    text.replace(text.find("DTCP/0.7"), 8, "DTCP/0.8");
    text.resize(text.find("AUTHENTICATION-INFO"));
    text.resize(text.size() - 2);
    const auto id = id_of(one(box.ask(message(text, {}))));
    const auto criterion = box.criterion(id);
    REQUIRE(criterion);
    CHECK(criterion->layer2);
    CHECK(lib::term_count(*criterion) == 0);
    CHECK(criterion->interfaces == lib::InterfaceList{{port_a, lib::any_vlan}});
}

TEST_CASE("X-IP-Addr is one tap on either direction of the address, beside what the lists say",
          "[dtcp:7.ip-addr]") {
    Box box;
    const auto id =
        add(box, {"Source-Address: *", "Dest-Address: !10.0.0.9", "X-IP-Addr: 10.0.0.7", "Protocol: 17"});
    const auto criterion = box.criterion(id);
    REQUIRE(criterion);
    CHECK(criterion->either_address == ip(7));
    CHECK(criterion->source_address.empty());
    CHECK(criterion->dest_address == lib::AddressList{{ip(9), ip(9), true}});
    CHECK(criterion->protocol == lib::NumberList{{17, 17, false}});
    CHECK(value_in_list(box, lib::dtcp::Name::ip_addr) == "10.0.0.7");
}

TEST_CASE("X-IP-Addr: a limit counts both directions together, and restarts keep it",
          "[dtcp:7.ip-addr-limits]") {
    Box box;
    const auto id =
        add(box, {"Source-Address: *", "X-IP-Addr: 10.0.0.7", "Flags: SendAsync", "Timeout-Packets: 5"});
    CHECK(box.service_of(id).packet_limit == 5);
    box.count(id, 2, 200);
    box.control_restarts();
    box.dataplane_dies();
    box.dataplane_starts();
    CHECK(box.criterion(id)->either_address == ip(7));
    CHECK(box.service_of(id).packet_limit == 3);
    CHECK(count_of(one(
              box.ask(request("REFRESH", {fmt::format("Criteria-ID: {}", id), "Timeout-Bytes: 900"})))) == 1);
    CHECK(box.service_of(id).byte_limit == 900);
}

TEST_CASE("X-IP-Addr beside 1,024 terms is 432 with its line") {
    Box box;
    std::string list = "Dest-Port: 1";
    for (int port = 2; port <= 1024; ++port) {
        list += fmt::format(",{}", port);
    }
    const auto answer = box.ask(add_message(1, {"Source-Address: -", "X-IP-Addr: 10.0.0.7", list}));
    CHECK(one(answer).code == 432);
    CHECK(answer.find("\r\nX-IP-Addr: 10.0.0.7\r\n") != std::string::npos);
    CHECK(box.installed().empty());
}

TEST_CASE("X-MD-Intercept-Id: every destination gets the mirror header; of 4 bytes the session is 0",
          "[dtcp:7.intercept-id]") {
    using Bytes = std::array<std::uint8_t, 8>;
    const auto header = [](std::string_view value) {
        Box box;
        const auto id =
            add(box, {fmt::format("X-MD-Intercept-Id: {}", value), "Cdest-ID: x,y",
                      "X-JTap-Cdest-Dest-Address: 192.0.2.1,192.0.2.2", "X-JTap-Cdest-Dest-Port: 1,2",
                      "X-JTap-Cdest-Source-Address: 192.0.2.9,192.0.2.9", "X-JTap-Cdest-Source-Port: 3,4"});
        const auto given = lib::dtcp::Name::md_intercept_id;
        CHECK(value_in_list(box, given) == value);
        box.control_restarts();
        const auto destinations = box.destinations_of(id);
        REQUIRE(destinations.size() == 2);
        CHECK(destinations[0].shim == lib::Shim::jmirror);
        CHECK(destinations[1].shim == lib::Shim::jmirror);
        CHECK(destinations[1].shim_bytes == destinations[0].shim_bytes);
        return destinations[0].shim_bytes;
    };
    CHECK(header("0x0000030000000090") == Bytes{0, 0, 3, 0, 0, 0, 0, 0x90});
    CHECK(header("3fffffffffffffff") == Bytes{0x3f, 255, 255, 255, 255, 255, 255, 255});
    CHECK(header("41414141") == Bytes{1, 0x41, 0x41, 0x41, 0, 0, 0, 0});
    CHECK(header("0x7") == Bytes{0, 0, 0, 7, 0, 0, 0, 0});
    Box box;
    for (const auto line : {"X-MD-Intercept-Id: 4000000000000000", "X-MD-Intercept-Id: 0xffffffffffffffff",
                            "X-MD-Intercept-Id: 80000000"}) {
        const auto answer = box.ask(add_message(1, {line}));
        CHECK(one(answer).code == 400);
        CHECK(answer.find(fmt::format("\r\n{}\r\n", line)) != std::string::npos);
    }
    CHECK(box.installed().empty());
    CHECK(box.destinations_of(add(box)).at(0).shim == lib::Shim::raw);
}

}  // namespace flowtap::test
