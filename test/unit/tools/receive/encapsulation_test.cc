#include "tools/receive/encapsulation.h"

#include "lib/address.h"
#include "test/support/packets.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>

namespace flowtap::test {
namespace {

using tools::receive::Cause;
using tools::receive::find_esp;
using tools::receive::LinkType;
using tools::receive::strip;

constexpr std::uint16_t esp = 50;

/// Distinct from its surroundings, so that a part found is the right part.
Bytes esp_bytes() {
    return Bytes(37, 0xe5);
}

/// Whether the frame gives exactly esp_bytes().
bool finds_esp(Bytes frame, LinkType type = LinkType::ethernet) {
    const auto found = find_esp(frame, type);
    return found && *found && std::ranges::equal(**found, esp_bytes());
}

std::optional<Cause> cause_of(Bytes frame, LinkType type = LinkType::ethernet) {
    const auto found = find_esp(frame, type);
    CHECK_FALSE((found && *found));
    return found ? std::nullopt : std::optional(found.error());
}

/// A frame from its IP header on.
Bytes from_ip(Bytes frame) {
    frame.erase(frame.begin(), frame.begin() + 14);
    return frame;
}

Bytes prefixed(Bytes prefix, const Bytes& rest) {
    prefix.insert(prefix.end(), rest.begin(), rest.end());
    return prefix;
}

TEST_CASE("ESP is found behind every link layer, VLAN tags, options and extension headers") {
    const Bytes plain = Packet().ipv4().raw(esp, esp_bytes()).frame();
    CHECK(finds_esp(plain));
    CHECK(finds_esp(Packet().ipv4().raw(esp, esp_bytes()).frame(90)));  // Ethernet padding is no part of it
    CHECK(finds_esp(Packet().ipv4({.options = Bytes(12, 1)}).raw(esp, esp_bytes()).frame()));
    CHECK(finds_esp(Packet().ipv6().raw(esp, esp_bytes()).frame()));
    CHECK(finds_esp(Packet().vlan().ipv6().raw(esp, esp_bytes()).frame(120)));
    CHECK(finds_esp(
        Packet().vlan({.tag_type = 0x88a8}).vlan().vlan().vlan().ipv4().raw(esp, esp_bytes()).frame()));
    CHECK(finds_esp(
        Packet().ipv6().hop_by_hop().dest_options({.size = 24}).routing().raw(esp, esp_bytes()).frame()));

    CHECK(finds_esp(from_ip(plain), LinkType::raw));
    CHECK(finds_esp(from_ip(plain), LinkType::ipv4));
    CHECK(finds_esp(from_ip(Packet().ipv6().raw(esp, esp_bytes()).frame()), LinkType::ipv6));
    Bytes cooked(16);
    cooked[14] = 8;
    CHECK(finds_esp(prefixed(cooked, from_ip(plain)), LinkType::linux_cooked));
    Bytes cooked2(20);
    cooked2[0] = 8;
    CHECK(finds_esp(prefixed(cooked2, from_ip(plain)), LinkType::linux_cooked_2));
}

TEST_CASE("what is not ESP is not ESP, and no error") {
    CHECK(cause_of(Packet().ipv4().udp().payload(10).frame()) == std::nullopt);
    CHECK(cause_of(Packet().ipv6().tcp().frame()) == std::nullopt);
    CHECK(cause_of(Packet().raw(0x0806, Bytes(28)).frame()) == std::nullopt);
    CHECK(cause_of(Packet().vlan().vlan().vlan().vlan().vlan().ipv4().raw(esp, esp_bytes()).frame()) ==
          std::nullopt);
    CHECK(cause_of({}, LinkType::raw) == std::nullopt);
    CHECK(cause_of(Bytes(40, 0x55), LinkType::raw) == std::nullopt);
    // A hop-by-hop header after nine others: more than any sender puts there.
    Packet deep;
    deep.ipv6();
    for (int i = 0; i < 9; ++i) {
        deep.dest_options();
    }
    CHECK(cause_of(deep.raw(esp, esp_bytes()).frame()) == std::nullopt);
}

TEST_CASE("a frame cut anywhere before its end is called truncated, or is no ESP frame at all") {
    for (const Bytes& frame : {Packet().vlan().ipv4({.options = Bytes(8, 1)}).raw(esp, esp_bytes()).frame(),
                               Packet().ipv6().hop_by_hop().raw(esp, esp_bytes()).frame()}) {
        REQUIRE(finds_esp(frame));
        for (std::size_t size = 0; size < frame.size(); ++size) {
            INFO(size);
            CHECK_FALSE(finds_esp(Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size))));
            // From the first byte of IP on, the frame is known to be cut.
            if (size > 18) {
                CHECK(cause_of(Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size))) ==
                      Cause::frame_truncated);
            }
        }
    }
    CHECK(cause_of(Packet().ipv4({.header_words = 4}).raw(esp, esp_bytes()).frame()) ==
          Cause::frame_truncated);
    CHECK(cause_of(Packet().ipv4({.total_length = 19}).raw(esp, esp_bytes()).frame()) ==
          Cause::frame_truncated);
    CHECK(cause_of(Packet().ipv6({.payload_length = 7}).hop_by_hop().raw(esp, esp_bytes()).frame()) ==
          Cause::frame_truncated);
}

TEST_CASE("ESP in fragments is named so") {
    CHECK(cause_of(Packet().ipv4({.more_fragments = true}).raw(esp, esp_bytes()).frame()) ==
          Cause::outer_fragment);
    CHECK(cause_of(Packet().ipv4({.fragment_offset = 5}).raw(esp, esp_bytes()).frame()) ==
          Cause::outer_fragment);
    CHECK(finds_esp(Packet().ipv4({.dont_fragment = true}).raw(esp, esp_bytes()).frame()));
    CHECK(cause_of(Packet().ipv6().fragment({.more = true}).raw(esp, esp_bytes()).frame()) ==
          Cause::outer_fragment);
    CHECK(cause_of(Packet().ipv6().fragment({.more = true}).udp().frame()) == std::nullopt);
}

TEST_CASE("ESP in UDP is found by port 4500, from any port, and ends where UDP does") {
    const PortFields to_esp{.source_port = 61'000, .dest_port = 4500};  // behind a translator
    CHECK(finds_esp(Packet().ipv4().udp(to_esp).payload(esp_bytes()).frame()));
    CHECK(finds_esp(Packet().ipv4({.options = Bytes(12, 1)}).udp(to_esp).payload(esp_bytes()).frame(120)));
    CHECK(finds_esp(Packet().vlan().ipv6().hop_by_hop().udp(to_esp).payload(esp_bytes()).frame(140)));
    CHECK(finds_esp(from_ip(Packet().ipv6().udp(to_esp).payload(esp_bytes()).frame()), LinkType::raw));
    for (Bytes frame : {Packet().ipv4().udp(to_esp).payload(esp_bytes()).frame(),
                        Packet().ipv6().udp(to_esp).payload(esp_bytes()).frame()}) {
        const std::size_t length = frame.size() - esp_bytes().size() - 4;
        const std::uint8_t right = frame[length + 1];
        frame[length + 1] = static_cast<std::uint8_t>(right - 5);
        const auto shorter = find_esp(frame, LinkType::ethernet);
        REQUIRE((shorter && *shorter));
        CHECK((*shorter)->size() == esp_bytes().size() - 5);
        for (const int wrong : {right + 1, 7, 0}) {
            frame[length + 1] = static_cast<std::uint8_t>(wrong);
            CHECK(cause_of(frame) == Cause::frame_truncated);
        }
    }
}

TEST_CASE("IKE, keepalives and all else of UDP is no ESP, and no error") {
    const PortFields to_esp{.source_port = 4500, .dest_port = 4500};
    const auto none = [](Packet packet) { return cause_of(packet.frame()) == std::nullopt; };
    const Bytes ike = prefixed(Bytes(4), Bytes(28, 0xe5));  // the marker of RFC 3948 section 2.2
    CHECK(none(Packet().ipv4().udp(to_esp).payload(ike)));
    CHECK(none(Packet().ipv6().udp(to_esp).payload(ike)));
    CHECK(none(Packet().ipv4().udp(to_esp).payload(Bytes{0xff})));
    CHECK(none(Packet().ipv6().udp(to_esp).payload(Bytes{0xff})));
    CHECK(none(Packet().ipv4().udp(to_esp)));
    // What comes from the port is somebody's answer.
    CHECK(none(Packet().ipv4().udp({.source_port = 4500, .dest_port = 4501}).payload(esp_bytes())));
    CHECK(none(Packet().ipv6().udp({.source_port = 4500, .dest_port = 4501}).payload(esp_bytes())));
    // A later fragment's payload may look like the port.
    CHECK(none(Packet().ipv4({.fragment_offset = 3}).udp(to_esp).payload(esp_bytes())));
}

TEST_CASE("ESP in UDP in fragments is named so, and so is what was cut") {
    const PortFields to_esp{.source_port = 4500, .dest_port = 4500};
    CHECK(cause_of(Packet().ipv4({.more_fragments = true}).udp(to_esp).payload(esp_bytes()).frame()) ==
          Cause::outer_fragment);
    for (const Bytes& frame : {Packet().ipv4().udp(to_esp).payload(esp_bytes()).frame(),
                               Packet().ipv6().udp(to_esp).payload(esp_bytes()).frame()}) {
        const std::size_t udp = frame.size() - esp_bytes().size() - 8;
        for (std::size_t size = 0; size < frame.size(); ++size) {
            INFO(size);
            const auto cause =
                cause_of(Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size)));
            // Only with its ports there is it known what was cut.
            CHECK((size < udp + 8 || cause == Cause::frame_truncated));
        }
    }
}

Bytes original() {
    return from_ip(Packet().ipv4({.source = "10.1.2.3", .dest = "10.4.5.6"}).tcp().payload(33).frame());
}

TEST_CASE("raw encapsulation gives the original back, with the addresses of the copy") {
    for (const bool checksum : {true, false}) {
        Bytes packet = from_ip(Packet()
                                   .ipv4({.source = "100.100.100.100", .dest = "2.2.2.2", .ttl = 255})
                                   .udp({.source_port = 50000, .dest_port = 7000})
                                   .payload(original())
                                   .frame());
        if (!checksum) {
            packet[26] = packet[27] = 0;
        }
        const auto copy = strip(packet);
        REQUIRE(copy.has_value());
        CHECK(std::ranges::equal(copy->original, original()));
        CHECK(lib::to_string(copy->source) == "100.100.100.100");
        CHECK(lib::to_string(copy->destination) == "2.2.2.2");
        CHECK(copy->source_port == 50000);
        CHECK(copy->destination_port == 7000);
    }
    const Bytes packet6 = from_ip(Packet()
                                      .ipv6({.source = "2001:db8::1", .dest = "2001:db8::77"})
                                      .udp({.source_port = 1, .dest_port = 65535})
                                      .payload(original())
                                      .frame());
    const auto copy = strip(packet6);
    REQUIRE(copy.has_value());
    CHECK(std::ranges::equal(copy->original, original()));
    CHECK(lib::to_string(copy->destination) == "2001:db8::77");
    CHECK(copy->destination_port == 65535);
}

TEST_CASE("a mirror header before the original is stripped too") {
    Bytes mirrored{0x3f, 2, 3, 4, 0x45, 6, 7, 8};
    const Bytes packet = original();
    mirrored.insert(mirrored.end(), packet.begin(), packet.end());
    const Bytes whole = from_ip(Packet().ipv4().udp().payload(mirrored).frame());
    const auto copy = strip(whole);
    REQUIRE(copy.has_value());
    CHECK(std::ranges::equal(copy->original, packet));
    const auto cause_of_payload = [](const Bytes& payload) {
        const Bytes bytes = from_ip(Packet().ipv4().udp().payload(payload).frame());
        return strip(bytes).error();
    };
    CHECK(cause_of_payload(Bytes(8)) == Cause::not_ip);  // nothing behind it
    CHECK(cause_of_payload(Bytes(9)) == Cause::not_ip);  // no IP packet behind it
}

std::optional<Cause> strip_cause(const Bytes& packet) {
    const auto copy = strip(packet);
    return copy ? std::nullopt : std::optional(copy.error());
}

TEST_CASE("what is no copy is refused by its cause") {
    const Bytes good = from_ip(Packet().ipv4().udp().payload(original()).frame());
    const Bytes good6 = from_ip(Packet().ipv6().udp().payload(original()).frame());
    REQUIRE(strip_cause(good) == std::nullopt);
    REQUIRE(strip_cause(good6) == std::nullopt);
    const auto changed = [](Bytes packet, std::size_t at, std::uint8_t by) {
        packet[at] ^= by;
        return strip_cause(packet);
    };
    CHECK(changed(good, 8, 1) == Cause::bad_inner_header);  // TTL: the header's checksum is wrong
    CHECK(changed(good, 0, 0x70) == Cause::bad_inner_header);
    CHECK(changed(good, 25, 1) == Cause::bad_udp);  // UDP length
    CHECK(changed(good, 60, 1) == Cause::bad_udp);  // payload
    CHECK(changed(good6, 45, 1) == Cause::bad_udp);
    CHECK(changed(good6, 60, 1) == Cause::bad_udp);
    CHECK(changed(good6, 20, 1) == Cause::bad_udp);  // an address: the pseudo-header covers it
    Bytes longer = good;  // two bytes that UDP does not count, and no checksum that would tell
    longer[25] = static_cast<std::uint8_t>(longer[25] - 2);
    longer[26] = longer[27] = 0;
    CHECK(strip_cause(longer) == Cause::bad_udp);
    Bytes without_checksum = good6;
    without_checksum[46] = without_checksum[47] = 0;
    CHECK(strip_cause(without_checksum) == Cause::bad_udp);

    CHECK(strip_cause(from_ip(Packet().ipv4().tcp().frame())) == Cause::not_udp);
    CHECK(strip_cause(from_ip(Packet().ipv6().icmpv6().frame())) == Cause::not_udp);
    CHECK(strip_cause(from_ip(Packet().ipv4({.more_fragments = true}).udp().frame())) ==
          Cause::inner_fragment);
    CHECK(strip_cause(from_ip(Packet().ipv4({.fragment_offset = 3}).udp().frame())) == Cause::inner_fragment);
    CHECK(strip_cause(from_ip(Packet().ipv6().fragment().udp().frame())) == Cause::inner_fragment);
    CHECK(strip_cause(from_ip(Packet().ipv4().udp().frame())) == Cause::not_ip);
    CHECK(strip_cause(from_ip(Packet().ipv4().udp().payload(Bytes{0x50, 1, 2}).frame())) == Cause::not_ip);
    CHECK(strip_cause(from_ip(Packet().ipv4().raw(17, Bytes(7)).frame())) == Cause::bad_udp);
    CHECK(strip_cause({}) == Cause::bad_inner_header);
}

TEST_CASE("no bytes make it read past their end or take what is not there") {
    // Under the address sanitizer this is the proof; the buffers have exactly their size.
    std::mt19937_64 random(9);
    const Bytes seeds[] = {Packet().vlan().ipv4({.options = Bytes(8, 1)}).raw(esp, esp_bytes()).frame(),
                           Packet().ipv6().hop_by_hop().fragment().raw(esp, esp_bytes()).frame(),
                           from_ip(Packet().ipv6().udp().payload(original()).frame())};
    for (int i = 0; i < 200'000; ++i) {
        Bytes bytes = seeds[random() % 3];
        bytes.resize(random() % (bytes.size() + 1));
        for (int changes = 0; changes < 3 && !bytes.empty(); ++changes) {
            bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
        }
        bytes.shrink_to_fit();
        const auto found = find_esp(bytes, random() % 2 == 0 ? LinkType::ethernet : LinkType::raw);
        REQUIRE((!found || !*found || (*found)->size() <= bytes.size()));
        if (const auto copy = strip(bytes)) {
            REQUIRE(copy->original.size() + 28 <= bytes.size());
        }
    }
}

}  // namespace
}  // namespace flowtap::test
