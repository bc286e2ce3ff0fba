// What may pass between the kernel and the delivery port, and in what form.
#include "dataplane/slow_path/packet_rules.h"

#include "test/support/packets.h"
#include "test/unit/dataplane/slow_path/site.h"

#include <catch2/catch.hpp>

#include <string_view>

namespace {

namespace lib = flowtap::lib;
using flowtap::dataplane::slow_path::Arrival;
using flowtap::dataplane::slow_path::Departure;
using flowtap::dataplane::slow_path::PacketRules;
using flowtap::test::Packet;
using enum lib::SlowPathCounter;
using FrameBytes = std::vector<std::uint8_t>;

constexpr lib::MacAddress own_mac{0x02, 0, 0, 0, 0, 0x0d};
constexpr std::size_t ethernet = 14;

Packet to_us() {
    return Packet({.dest = own_mac});
}

FrameBytes udp(std::string_view source, std::string_view dest, std::uint16_t port = 9) {
    const bool ipv6 = source.find(':') != std::string_view::npos;
    Packet packet = to_us();
    packet =
        ipv6 ? packet.ipv6({.source = source, .dest = dest}) : packet.ipv4({.source = source, .dest = dest});
    return packet.udp({.source_port = port, .dest_port = port}).payload(40).frame();
}

FrameBytes esp(std::string_view source, std::string_view dest) {
    return to_us().ipv4({.source = source, .dest = dest, .protocol = 50}).payload(60).frame();
}

FrameBytes arp() {
    return Packet({.dest = own_mac, .type = 0x0806}).payload(28).frame();
}

/// A frame without its Ethernet header, as what comes out of a tunnel.
std::span<const std::uint8_t> inner(const FrameBytes& frame) {
    return std::span(frame).subspan(ethernet);
}

struct Rules {
    lib::Config config = flowtap::test::slow_path_site();
    PacketRules rules{config, own_mac};

    Arrival::Way arrives(const FrameBytes& frame) const { return rules.arriving(frame).way; }
    lib::SlowPathCounter refused(const FrameBytes& frame) const {
        const Arrival arrival = rules.arriving(frame);
        REQUIRE(arrival.way == Arrival::Way::drop);
        return arrival.cause;
    }
    Departure::Way departs(const FrameBytes& frame) const { return rules.departing(frame).way; }
    lib::SlowPathCounter held(const FrameBytes& frame) const {
        const Departure departure = rules.departing(frame);
        REQUIRE(departure.way == Departure::Way::drop);
        return departure.cause;
    }
};

TEST_CASE_METHOD(Rules, "the kernel gets ARP, what is for a delivery address, and what is for the link") {
    CHECK(arrives(arp()) == Arrival::Way::kernel);
    CHECK(arrives(udp("192.0.2.254", "192.0.2.1")) == Arrival::Way::kernel);
    CHECK(arrives(udp("3.3.3.3", "100.100.100.100")) == Arrival::Way::kernel);
    CHECK(arrives(udp("2001:db8:d::fe", "2001:db8:d::1")) == Arrival::Way::kernel);
    CHECK(arrives(udp("fe80::1", "ff02::1:ff00:1")) == Arrival::Way::kernel);
    CHECK(arrives(udp("192.0.2.254", "224.0.0.1")) == Arrival::Way::kernel);
    CHECK(refused(udp("192.0.2.254", "192.0.2.2")) == rx_not_ours);
    CHECK(refused(udp("192.0.2.254", "239.1.1.1")) == rx_not_ours);
    CHECK(refused(udp("192.0.2.254", "255.255.255.255")) == rx_not_ours);
    CHECK(refused(Packet().ipv4({.dest = "192.0.2.1"}).udp().frame()) == rx_other_host);
    CHECK(refused(to_us().vlan({.id = 5}).ipv4({.dest = "192.0.2.1"}).udp().frame()) == rx_other_protocol);
}

TEST_CASE_METHOD(Rules, "what is behind a tunnel may not come in clear, its IKE excepted") {
    CHECK(refused(udp("2.2.2.1", "100.100.100.100")) == rx_unprotected);
    CHECK(refused(udp("2.2.2.31", "192.0.2.1", 500)) == rx_unprotected);
    CHECK(refused(udp("4.4.4.4", "192.0.2.1")) == rx_unprotected);
    CHECK(refused(udp("2001:db8:2::7", "2001:db8:d::1")) == rx_unprotected);
    CHECK(arrives(udp("2.2.2.32", "100.100.100.100")) == Arrival::Way::kernel);
    // A remote end that is behind its own tunnel still sets that tunnel up, with nothing else than IKE.
    config.routes[0].prefix = *lib::parse_prefix("123.123.123.0/24");
    const PacketRules remote_inside{config, own_mac};
    CHECK(remote_inside.arriving(udp("123.123.123.123", "100.100.100.100", 500)).way == Arrival::Way::kernel);
    CHECK(remote_inside.arriving(udp("123.123.123.123", "100.100.100.100", 501)).cause == rx_unprotected);
    CHECK(remote_inside.arriving(udp("123.123.123.124", "100.100.100.100", 500)).cause == rx_unprotected);
    CHECK(remote_inside.arriving(udp("123.123.123.123", "192.0.2.1", 500)).cause == rx_unprotected);
    CHECK(remote_inside.departing(udp("100.100.100.100", "123.123.123.123", 500)).way ==
          Departure::Way::routed);
    CHECK(remote_inside.departing(udp("100.100.100.100", "123.123.123.123", 501)).way ==
          Departure::Way::seal);
}

TEST_CASE_METHOD(Rules, "ESP for the end of a tunnel is opened, in UDP too, and no other ESP is") {
    const FrameBytes frame = esp("123.123.123.123", "100.100.100.100");
    const Arrival arrival = rules.arriving(frame);
    CHECK(arrival.way == Arrival::Way::open);
    CHECK(arrival.esp_offset == ethernet + 20);
    CHECK(arrival.esp_length == 60);
    CHECK_FALSE(arrival.in_udp);
    CHECK(arrival.dest == *lib::parse_address("100.100.100.100"));

    FrameBytes in_udp = udp("123.123.123.123", "100.100.100.100", 4500);
    const std::size_t esp_at = ethernet + 20 + 8;
    std::fill_n(in_udp.begin() + esp_at, 4, std::uint8_t{0x11});
    const Arrival carried = rules.arriving(in_udp);
    CHECK(carried.way == Arrival::Way::open);
    CHECK(carried.in_udp);
    CHECK(carried.esp_offset == esp_at);
    CHECK(carried.esp_length == 40);
    std::fill_n(in_udp.begin() + esp_at, 4, std::uint8_t{0});  // RFC 3948 section 2.2: IKE
    CHECK(arrives(in_udp) == Arrival::Way::kernel);

    CHECK(arrives(esp("123.123.123.123", "192.0.2.1")) == Arrival::Way::open);
    CHECK(refused(to_us()
                      .ipv4({.dest = "100.100.100.100", .more_fragments = true, .protocol = 50})
                      .payload(64)
                      .frame()) == esp_refused_malformed);
}

TEST_CASE_METHOD(Rules,
                 "out of a tunnel comes only what is behind that tunnel, and only to a delivery address") {
    const auto may = [&](std::string_view source, std::string_view dest, std::uint16_t tunnel) {
        const FrameBytes frame = udp(source, dest);
        return rules.may_come_out(inner(frame), tunnel);
    };
    CHECK(may("2.2.2.1", "100.100.100.100", 0));
    CHECK(may("2.2.2.1", "192.0.2.1", 0));
    CHECK(may("2001:db8:2::1", "2001:db8:d::1", 0));
    CHECK(may("4.4.4.4", "192.0.2.1", 1));
    CHECK_FALSE(may("4.4.4.4", "192.0.2.1", 0));
    CHECK_FALSE(may("2.2.2.1", "192.0.2.1", 1));
    CHECK_FALSE(may("2.2.2.32", "100.100.100.100", 0));
    CHECK_FALSE(may("3.3.3.3", "100.100.100.100", 0));
    CHECK_FALSE(may("2.2.2.1", "192.0.2.254", 0));
    CHECK_FALSE(may("2.2.2.1", "2.2.2.2", 0));
    CHECK_FALSE(may("2.2.2.1", "224.0.0.1", 0));
    CHECK_FALSE(rules.may_come_out({}, 0));
}

TEST_CASE_METHOD(Rules, "the kernel's packets take the delivery routes, from a delivery address only") {
    CHECK(departs(arp()) == Departure::Way::link);
    CHECK(departs(udp("192.0.2.1", "192.0.2.254")) == Departure::Way::link);
    CHECK(departs(udp("fe80::1", "ff02::2")) == Departure::Way::link);
    CHECK(departs(udp("::", "ff02::1:ff00:1")) == Departure::Way::link);
    const FrameBytes clear = udp("100.100.100.100", "3.3.3.3");
    CHECK(rules.departing(clear).way == Departure::Way::routed);
    CHECK_FALSE(rules.departing(clear).tunnel);
    const FrameBytes inside = udp("100.100.100.100", "2.2.2.1");
    CHECK(rules.departing(inside).way == Departure::Way::seal);
    CHECK(rules.departing(inside).tunnel == 0);
    CHECK(rules.departing(inside).length == 20 + 8 + 40);
    CHECK(rules.departing(udp("192.0.2.1", "4.4.4.4")).tunnel == 1);
    CHECK(rules.departing(udp("2001:db8:d::1", "2001:db8:2::1")).family == lib::Family::ipv6);
    CHECK(held(udp("100.100.100.100", "9.9.9.9")) == tx_no_route);
    CHECK(held(udp("100.100.100.100", "255.255.255.255")) == tx_no_route);
    CHECK(held(udp("10.0.0.5", "2.2.2.1")) == tx_not_ours);
    CHECK(held(udp("10.0.0.5", "192.0.2.254")) == tx_not_ours);
    CHECK(held(udp("2001:db8:77::1", "2001:db8:2::1")) == tx_not_ours);
}

TEST_CASE_METHOD(Rules, "no cut of a frame is read beyond its end, and none passes for a whole one") {
    for (const FrameBytes& whole : {udp("192.0.2.254", "192.0.2.1"), udp("2001:db8:d::fe", "2001:db8:d::1"),
                                    esp("123.123.123.123", "100.100.100.100")}) {
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const FrameBytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            CHECK(refused(cut) == rx_malformed);
            CHECK(held(cut) == tx_malformed);
        }
    }
    CHECK(refused(to_us().ipv4({.dest = "192.0.2.1", .header_words = 4}).udp().frame()) == rx_malformed);
    CHECK(refused(to_us().ipv4({.dest = "192.0.2.1", .version = 6}).udp().frame()) == rx_malformed);
    CHECK(refused(to_us().ipv4({.dest = "192.0.2.1", .total_length = 19}).udp().frame()) == rx_malformed);
    CHECK(refused(to_us().ipv6({.dest = "2001:db8:d::1", .payload_length = 4000}).udp().frame()) ==
          rx_malformed);
}

}  // namespace
