// Interfaces, VRFs, whole frames and subscriber triggers (dtcp.md section 7), as what the dataplane is given.
#include "test/unit/control/dialogue.h"

#include <algorithm>

namespace flowtap::test {

namespace {

constexpr std::uint16_t port_a = 0;
constexpr std::uint16_t port_b = 1;

lib::InterfaceList interfaces(Box& box, std::string_view line) {
    const auto id = add(box, {line}, "b");
    const auto criteria = box.criteria(id);
    REQUIRE(criteria.size() == 1);
    return criteria.front().interfaces;
}

lib::IpAddress ip(std::uint8_t last) {
    return {lib::Family::ipv4, {10, 0, 0, last}};
}

/// Exactly as the lists are to be read (dtcp.md section 6), for addresses only.
bool matches(const lib::AddressList& list, const lib::IpAddress& address) {
    bool positive = false;
    bool hit = false;
    for (const auto& term : list) {
        const bool inside = term.first.bytes <= address.bytes && address.bytes <= term.last.bytes;
        if (inside && term.negated) {
            return false;
        }
        positive = positive || !term.negated;
        hit = hit || inside;
    }
    return hit || !positive;
}

std::size_t copies(const std::vector<lib::Criterion>& criteria, std::uint8_t from, std::uint8_t to) {
    return static_cast<std::size_t>(std::ranges::count_if(criteria, [&](const lib::Criterion& criterion) {
        return matches(criterion.source_address, ip(from)) && matches(criterion.dest_address, ip(to));
    }));
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
    const auto criteria = box.criteria(id);
    REQUIRE(criteria.size() == 1);
    CHECK(criteria[0].layer2);
    CHECK(lib::term_count(criteria[0]) == 0);
    CHECK(criteria[0].interfaces == lib::InterfaceList{{port_a, lib::any_vlan}});
}

TEST_CASE("X-IP-Addr is one tap on both directions: each frame once, also from the address to itself",
          "[dtcp:7.ip-addr]") {
    Box box;
    const auto id = add(box, {"Source-Address: *", "X-IP-Addr: 10.0.0.7", "Protocol: 17"});
    const auto criteria = box.criteria(id);
    REQUIRE(criteria.size() == 2);
    for (std::uint8_t from = 5; from < 10; ++from) {
        for (std::uint8_t to = 5; to < 10; ++to) {
            CHECK(copies(criteria, from, to) == (from == 7 || to == 7 ? 1 : 0));
        }
    }
    CHECK(criteria[0].protocol == lib::NumberList{{17, 17, false}});
    CHECK(criteria[1].protocol == criteria[0].protocol);
    CHECK(entries(box) == 1);
    box.count(id, 3, 300, 0);
    box.count(id, 2, 200, 1);
    const auto entry = one(box.ask(request("LIST", {})));
    CHECK(number(entry, lib::dtcp::Name::matching_packets) == 5);
    CHECK(number(entry, lib::dtcp::Name::matching_bytes) == 500);
    CHECK(value(entry, lib::dtcp::Name::ip_addr) == "10.0.0.7");
}

TEST_CASE("X-IP-Addr with address lists: their rule and the trigger's hold together", "[dtcp:7.ip-addr]") {
    Box box;
    const auto all = [](const std::vector<lib::Criterion>& criteria, auto wanted) {
        for (std::uint8_t from = 1; from < 12; ++from) {
            for (std::uint8_t to = 1; to < 12; ++to) {
                CHECK(copies(criteria, from, to) == (wanted(from, to) && (from == 7 || to == 7) ? 1 : 0));
            }
        }
    };
    all(box.criteria(add(box, {"Source-Address: 10.0.0.5-10.0.0.9,!10.0.0.8", "X-IP-Addr: 10.0.0.7"}, "b")),
        [](int from, int) { return from >= 5 && from <= 9 && from != 8; });
    all(box.criteria(add(box, {"Source-Address: 10.0.0.1-10.0.0.3", "X-IP-Addr: 10.0.0.7"}, "b")),
        [](int from, int) { return from <= 3; });
    all(box.criteria(
            add(box, {"Source-Address: !10.0.0.7", "Dest-Address: 10.0.0.4", "X-IP-Addr: 10.0.0.7"}, "b")),
        [](int, int) { return false; });
    all(box.criteria(add(box, {"Source-Address: *", "Dest-Address: 10.0.0.4-*", "X-IP-Addr: 10.0.0.7"}, "b")),
        [](int, int to) { return to >= 4; });
}

TEST_CASE("a tap with two slots lives and dies as one, over restarts too, and gives both slots back",
          "[dtcp:7.ip-addr]") {
    Box box;
    const auto id =
        add(box, {"Source-Address: *", "X-IP-Addr: 10.0.0.7", "Flags: SendAsync", "Timeout-Total: 60"});
    box.count(id, 1, 100, 1);
    box.control_restarts();
    CHECK(box.criteria(id).size() == 2);
    box.dataplane_dies();
    box.dataplane_starts();
    CHECK(box.criteria(id).size() == 2);
    box.count(id, 1, 100, 0);
    CHECK(number(one(box.ask(request("LIST", {}))), lib::dtcp::Name::matching_packets) == 2);
    CHECK(count_of(one(
              box.ask(request("ENABLE", {fmt::format("Criteria-ID: {}", id), "X-Drop-Policy: web"})))) == 1);
    CHECK(count_of(one(box.ask(request("DELETE", {fmt::format("Criteria-ID: {}", id)})))) == 1);
    CHECK(box.criteria(id).empty());
    for (std::uint32_t i = 0; i < 2 * box_taps; ++i) {
        const auto next = add(box, {"Source-Address: *", "X-IP-Addr: 10.0.0.7"});
        CHECK(count_of(one(
                  box.ask(request("DELETE", {fmt::format("Criteria-ID: {}", next), "Flags: Static"})))) == 1);
    }
}

TEST_CASE("a tap with two slots that is refused leaves neither behind") {
    Box box;
    const auto session = box.open();
    box.paused = true;
    box.send(session, add_message(1, {"Source-Address: *", "X-IP-Addr: 10.0.0.7"}));
    box.poison = 1;
    box.paused = false;
    CHECK(one(box.take(session)).code == 500);
    CHECK(box.installed().empty());
}

TEST_CASE("limits in packets and bytes over two slots could not be exact: 501 with the line",
          "[dtcp:7.ip-addr-limits]") {
    Box box;
    const auto answer = box.ask(add_message(
        1, {"Source-Address: *", "X-IP-Addr: 10.0.0.7", "Flags: SendAsync", "Timeout-Packets: 5"}));
    CHECK(one(answer).code == 501);
    CHECK(answer.find("\r\nTimeout-Packets: 5\r\n") != std::string::npos);
    const auto id =
        add(box, {"Source-Address: *", "X-IP-Addr: 10.0.0.7", "Flags: SendAsync", "Timeout-Total: 60"});
    CHECK(one(box.ask(request("REFRESH", {fmt::format("Criteria-ID: {}", id), "Timeout-Bytes: 9"}))).code ==
          501);
    // One direction only is left here: one slot, and its limit is exact.
    add(box, {"Source-Address: 10.0.0.1", "X-IP-Addr: 10.0.0.7", "Flags: SendAsync", "Timeout-Packets: 5"});
}

}  // namespace flowtap::test
