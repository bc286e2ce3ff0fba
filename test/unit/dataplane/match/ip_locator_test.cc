#include "dataplane/match/ip_locator.h"

#include "test/support/facts_of.h"
#include "test/support/packets.h"
#include "test/support/random_traffic.h"
#include "test/support/reference_match.h"
#include "test/unit/dataplane/match/frame_kinds.h"

#include <catch2/catch.hpp>

#include <array>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

using Numbers = std::vector<std::uint16_t>;

constexpr lib::MacAddress mac(std::uint8_t first) {
    return {first, 0x1b, 0x21, 0xaa, 0xbb, 0xcc};
}

Headers parse(const Bytes& bytes) {
    return parse_frame(Exact(bytes, bytes.size()).frame());
}

// What is expected to be read: a packet of the family at that offset, with the ports 5 and 6.
void check_found(const Bytes& bytes, lib::Family family, std::size_t offset) {
    const Headers headers = parse(bytes);
    CHECK(headers.verdict == Verdict::ok);
    CHECK(headers.family == family);
    CHECK(headers.l3_offset == offset);
    CHECK(headers.source_port == 5);
    CHECK(headers.dest_port == 6);
    CHECK(reading_of(headers) == reference_parse(bytes));
}

void check_both_families(const Packet& carrier, std::size_t offset) {
    Packet four = carrier;
    check_found(four.ipv4().udp({5, 6}).payload(30).frame(), lib::Family::ipv4, offset);
    Packet six = carrier;
    check_found(six.ipv6().udp({5, 6}).payload(30).frame(), lib::Family::ipv6, offset);
}

Verdict verdict_of(const Packet& packet) {
    const Headers headers = parse(packet.frame());
    CHECK(reading_of(headers) == reference_parse(packet.frame()));
    return headers.verdict;
}

TEST_CASE("up to sixteen labels are stepped over, behind any tags, under either ethertype",
          "[parser][mpls]") {
    for (std::size_t labels = 1; labels <= 16; ++labels) {
        CAPTURE(labels);
        check_both_families(labels_in_a_row(labels), 14 + 4 * labels);
    }
    CHECK(verdict_of(labels_in_a_row(17).ipv4().udp()) == Verdict::mpls_depth);
    CHECK(verdict_of(labels_in_a_row(40).ipv4().udp()) == Verdict::mpls_depth);
    Packet packet;
    for (std::size_t tags = 0; tags <= 4; ++tags, packet.vlan({.id = 7})) {
        CAPTURE(tags);
        check_both_families(Packet(packet).mpls().mpls(), 14 + 4 * tags + 8);
    }
    CHECK(verdict_of(Packet(packet).mpls().ipv4().udp()) == Verdict::vlan_depth);
    check_both_families(Packet().mpls({.ethertype = 0x8848}), 18);
    // Class and lifetime are the entry's, and no part of its label.
    check_both_families(Packet().mpls({.label = 0xfffff, .traffic_class = 7, .ttl = 255}), 18);
}

TEST_CASE("explicit null labels say the family, at the bottom only", "[parser][mpls]") {
    check_found(Packet().mpls({0}).ipv4().udp({5, 6}).frame(), lib::Family::ipv4, 18);
    check_found(Packet().mpls({2}).ipv6().udp({5, 6}).frame(), lib::Family::ipv6, 18);
    CHECK(verdict_of(Packet().mpls({0}).ipv6().udp()) == Verdict::bad_ipv4);
    CHECK(verdict_of(Packet().mpls({2}).ipv4().udp().payload(30)) == Verdict::bad_ipv6);
    check_both_families(Packet().mpls({0, 2, 16}), 26);
    check_both_families(Packet().mpls({1, 14, 16}), 26);
    // What they name is not guessed at: no Ethernet frame is looked for.
    CHECK(verdict_of(Packet().mpls({0}).ethernet({.dest = mac(0x44)}).ipv4().udp()) != Verdict::ok);
}

TEST_CASE("the associated channel of a pseudowire is no IP", "[parser][mpls]") {
    // RFC 4385 section 5: version 0, reserved 0, channel type; types 0x21 and 0x57 carry IP of routers.
    for (const std::uint8_t type : Bytes{0x07, 0x21, 0x57}) {
        Bytes channel{0x10, 0, 0, type};
        const Bytes packet = Packet().ipv4().udp().frame();
        channel.insert(channel.end(), packet.begin() + 14, packet.end());
        CHECK(verdict_of(Packet().mpls({1000, 13}).payload(channel)) == Verdict::not_ip);
    }
}

TEST_CASE("a pseudowire's frame is found behind a control word and without one", "[parser][mpls]") {
    for (const std::uint16_t sequence : Numbers{0x0000, 0x0001, 0x4500, 0xffff}) {
        CAPTURE(sequence);
        check_both_families(Packet().mpls({16}).control_word({.sequence = sequence}).ethernet(), 36);
    }
    // Whatever its address begins with; the other reserved bits are ignored on receipt (RFC 4385 section 3).
    for (int first = 0; first < 256; ++first) {
        const auto byte = static_cast<std::uint8_t>(first);
        CAPTURE(first);
        check_both_families(Packet().mpls({16}).ethernet({.dest = mac(byte)}), 32);
        check_both_families(Packet().mpls({16}).control_word().ethernet({.dest = mac(byte)}), 36);
        check_both_families(Packet()
                                .mpls({16})
                                .control_word({.first = static_cast<std::uint16_t>(first * 16 % 4096)})
                                .ethernet({.dest = mac(byte)}),
                            36);
    }
    // 00-00-5E is the gateway's of VRRP (RFC 9568 section 7.3), and looks like a control word.
    check_both_families(Packet().mpls({16}).ethernet({.dest = {0, 0, 0x5e, 0, 1, 9}}), 32);
    check_both_families(Packet().mpls({16}).control_word().ethernet({.dest = {0, 0, 0x5e, 0, 1, 9}}), 36);
}

TEST_CASE("a pseudowire's frame has tags of its own, which are not the wire's", "[parser][mpls]") {
    for (const bool control_word : {false, true}) {
        Packet packet;
        packet.vlan({.id = 100, .priority = 1}).vlan({.id = 200}).mpls({16, 17});
        if (control_word) {
            packet.control_word();
        }
        packet.ethernet({.dest = mac(0x24)});
        std::size_t offset = 14 + 8 + 8 + (control_word ? 4 : 0) + 14;
        for (int tags = 0; tags <= 4; ++tags, offset += 4) {
            CAPTURE(control_word, tags);
            check_both_families(packet, offset);
            check_both_families(Packet(packet).pppoe(), offset + 8);
            const Headers headers = parse(Packet(packet).ipv4().udp().frame());
            CHECK(headers.vlan_tags == 2);
            CHECK(headers.outer_vlan == 0x2064);
            CHECK(headers.inner_vlan == 200);
            packet.vlan({.id = 300, .tag_type = 0x88a8});
        }
        CHECK(verdict_of(packet.ipv4().udp()) == Verdict::vlan_depth);
    }
    const Headers untagged = parse(Packet().mpls({16}).ethernet().vlan({.id = 5}).ipv4().udp().frame());
    CHECK(untagged.vlan_tags == 0);
    CHECK(untagged.outer_vlan == 0);
    CHECK(untagged.inner_vlan == 0);
}

TEST_CASE("a pseudowire's frame may carry other things than IP, and no labels again", "[parser][mpls]") {
    for (const bool control_word : {false, true}) {
        Packet packet;
        packet.mpls({16});
        if (control_word) {
            packet.control_word();
        }
        packet.ethernet();
        for (const std::uint16_t type : Numbers{0x0806, 0x8863, 0x88cc, 0x0026}) {
            CHECK(verdict_of(Packet(packet).raw(type, Bytes(46, 0x45))) == Verdict::not_ip);
        }
        CHECK(verdict_of(Packet(packet).mpls({16}).ipv4().udp()) == Verdict::not_ip);
        CHECK(verdict_of(Packet(packet).ipv4({.header_words = 4}).udp()) == Verdict::bad_ipv4);
        CHECK(verdict_of(Packet(packet).pppoe({.code = 1}).ipv4().udp()) == Verdict::bad_pppoe);
    }
}

TEST_CASE("sound IP is taken as IP, whatever an Ethernet frame could be read into it", "[parser][mpls]") {
    // The addresses are such that an ethertype and a plausible IPv4 header stand where a frame's would.
    const Bytes six =
        Packet().mpls({16}).ipv6({.source = "2001:db8:800:4500:1c:1:2:3"}).udp({5, 6}).payload(60).frame();
    check_found(six, lib::Family::ipv6, 18);
    Bytes four =
        Packet().mpls({16}).ipv4({.source = "8.0.69.0", .dest = "0.28.1.2"}).udp({5, 6}).payload(60).frame();
    check_found(four, lib::Family::ipv4, 18);
    // The same without soundness is taken for a frame: nothing else tells the two apart.
    four[18 + 10] ^= 1;
    CHECK(parse(four).l3_offset == 32);
    CHECK(reading_of(parse(four)) == reference_parse(four));
    Bytes padded = six;
    padded.resize(six.size() + 2);
    CHECK(parse(padded).l3_offset == 32);
}

TEST_CASE("what is neither sound IP nor a frame with a packet in it is read as IP", "[parser][mpls]") {
    Bytes wrong_sum = Packet().mpls({16}).ipv4().udp({5, 6}).frame();
    wrong_sum[18 + 10] ^= 1;
    check_found(wrong_sum, lib::Family::ipv4, 18);
    check_found(Packet().mpls({16}).ipv6().udp({5, 6}).frame(90), lib::Family::ipv6, 18);
    check_found(Packet().mpls({16}).ipv4().udp({5, 6}).frame(90), lib::Family::ipv4, 18);
    CHECK(verdict_of(Packet().mpls({16}).ipv4({.header_words = 4}).udp()) == Verdict::bad_ipv4);
    CHECK(verdict_of(Packet().mpls({16}).ipv4({.total_length = 900}).udp()) == Verdict::truncated);
    CHECK(verdict_of(Packet().mpls({16}).ipv6({.payload_length = 900}).udp()) == Verdict::truncated);
}

TEST_CASE("sessions of PPPoE carry IP under both forms of the protocol", "[parser][pppoe]") {
    check_both_families(Packet().pppoe(), 22);
    check_both_families(Packet().pppoe({.session = 0xffff, .compressed = true}), 21);
    check_both_families(Packet().vlan().vlan().vlan().vlan().pppoe(), 38);
    for (const std::uint16_t protocol : Numbers{0xc021, 0x8021, 0x8057, 0x0281, 0x0020, 0x0022}) {
        CAPTURE(protocol);
        CHECK(verdict_of(Packet().pppoe({.protocol = protocol}).ipv4().udp()) == Verdict::not_ip);
    }
    CHECK(verdict_of(Packet().pppoe({.ethertype = 0x8863}).ipv4().udp()) == Verdict::not_ip);
}

TEST_CASE("impossible PPPoE headers are named so", "[parser][pppoe]") {
    for (const std::uint8_t version_type : Bytes{0x10, 0x01, 0x12, 0x21, 0x00}) {
        CHECK(verdict_of(Packet().pppoe({.version_type = version_type}).ipv4().udp()) == Verdict::bad_pppoe);
    }
    for (const std::uint8_t code : Bytes{0x01, 0x07, 0x09, 0x19, 0x65, 0xa7}) {
        CHECK(verdict_of(Packet().pppoe({.code = code}).ipv4().udp()) == Verdict::bad_pppoe);
    }
    CHECK(verdict_of(Packet().pppoe({.length = 0}).ipv4().udp()) == Verdict::bad_pppoe);
    CHECK(verdict_of(Packet().pppoe({.length = 1}).ipv4().udp()) == Verdict::bad_pppoe);
    CHECK(verdict_of(Packet().pppoe({.length = 1, .compressed = true}).ipv4().udp()) == Verdict::truncated);
}

TEST_CASE("what a PPPoE session carries ends where its length says", "[parser][pppoe]") {
    const auto verdict = [](std::uint16_t length, std::size_t minimum) {
        const Bytes bytes = Packet().pppoe({.length = length}).ipv4().udp().payload(10).frame(minimum);
        CHECK(reading_of(parse(bytes)) == reference_parse(bytes));
        return parse(bytes).verdict;
    };
    CHECK(verdict(40, 0) == Verdict::ok);
    CHECK(verdict(40, 100) == Verdict::ok);
    CHECK(verdict(41, 0) == Verdict::truncated);
    CHECK(verdict(41, 100) == Verdict::ok);
    CHECK(verdict(39, 0) == Verdict::truncated);
    CHECK(verdict(21, 100) == Verdict::truncated);
}

TEST_CASE("a carrier that is cut anywhere is truncated, and read no further", "[parser][mpls][pppoe]") {
    const std::vector<Packet> packets{
        labels_in_a_row(16).ipv4().udp(),
        labels_in_a_row(2).ipv6().udp(),
        Packet().mpls({0}).ipv4().udp(),
        Packet().vlan().mpls({16}).control_word().ethernet().vlan().vlan().vlan().vlan().ipv6().udp(),
        Packet().vlan().mpls({16}).ethernet().vlan().pppoe().ipv4().udp(),
        Packet().mpls({16}).ethernet({.dest = mac(0x64)}).ipv4().udp(),
        Packet().vlan().pppoe().ipv4().udp(),
        Packet().pppoe({.compressed = true}).ipv6().udp(),
    };
    for (std::size_t kind = 0; kind < packets.size(); ++kind) {
        const Bytes whole = packets[kind].frame();
        REQUIRE(parse(whole).verdict == Verdict::ok);
        for (std::size_t size = 0; size < whole.size(); ++size) {
            CAPTURE(kind, size);
            const Exact cut(whole, size);
            REQUIRE(parse_frame(cut.frame()).verdict == Verdict::truncated);
            const Verdict part = parse_frame(cut.frame(whole.size())).verdict;
            REQUIRE((part == Verdict::truncated || part == Verdict::no_ports || part == Verdict::ok));
            REQUIRE((part != Verdict::ok || size >= parse(whole).l4_offset + 4U));
        }
    }
}

TEST_CASE("garbage behind labels and in sessions is read as the reference reads it",
          "[parser][mpls][pppoe]") {
    RandomTraffic traffic(4, 8);
    std::vector<int> seen(16);
    for (int i = 0; i < 200'000; ++i) {
        Packet packet;
        const bool session = traffic.chance(20);
        session ? packet.pppoe() : packet.mpls();
        Bytes bytes = packet.payload(traffic.below(120)).frame();
        for (std::size_t at = 14; at < bytes.size(); ++at) {
            if (at >= 18 ? traffic.chance(60) : traffic.chance(5)) {
                // Mostly such numbers as stand in headers.
                bytes[at] = traffic.chance(50)
                                ? static_cast<std::uint8_t>(traffic.below(256))
                                : std::array<std::uint8_t, 8>{0x45, 0x60, 0x08, 0x81, 0, 0, 0x88, 0x64}.at(
                                      traffic.below(8));
            }
        }
        const Reading reading = reading_of(parse(bytes));
        INFO(i);
        REQUIRE(reading == reference_parse(bytes));
        ++seen.at(static_cast<std::size_t>(reading.outcome));
    }
    CHECK(seen[static_cast<std::size_t>(Outcome::not_ip)] > 100);
    CHECK(seen[static_cast<std::size_t>(Outcome::bad_pppoe)] > 100);
    CHECK(seen[static_cast<std::size_t>(Outcome::truncated)] > 100);
}

}  // namespace
}  // namespace flowtap::test
