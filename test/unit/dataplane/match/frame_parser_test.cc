#include "dataplane/match/frame_parser.h"

#include "test/support/facts_of.h"
#include "test/support/packets.h"
#include "test/support/random_traffic.h"
#include "test/support/reference_match.h"
#include "test/unit/dataplane/match/frame_kinds.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

Headers parse(const Bytes& frame) {
    const auto size = static_cast<std::uint32_t>(frame.size());
    return parse_frame({frame.data(), size, size});
}

lib::IpAddress address(std::string_view text) {
    return lib::parse_address(text).value();
}

TEST_CASE("ports of every protocol that has them are read, over both families",
          "[parser][dtcp:6.port-protocols]") {
    struct Kind {
        std::uint16_t protocol;
        Packet& (Packet::*add)(PortFields);
    };
    for (const Kind& kind : {Kind{6, &Packet::tcp}, Kind{17, &Packet::udp}, Kind{33, &Packet::dccp},
                             Kind{132, &Packet::sctp}, Kind{136, &Packet::udp_lite}}) {
        CAPTURE(kind.protocol);
        Packet ipv4;
        ipv4.ipv4({.source = "192.0.2.7", .dest = "203.0.113.9"});
        const Headers four = parse((ipv4.*kind.add)({.source_port = 40001, .dest_port = 443}).frame());
        CHECK(four.verdict == Verdict::ok);
        CHECK(four.family == lib::Family::ipv4);
        CHECK(four.source == address("192.0.2.7").bytes);
        CHECK(four.dest == address("203.0.113.9").bytes);
        CHECK(four.protocol == kind.protocol);
        CHECK(four.flags == flag::ports);
        CHECK(four.source_port == 40001);
        CHECK(four.dest_port == 443);
        CHECK(four.l3_offset == 14);
        CHECK(four.l4_offset == 34);
        CHECK(four.vlan_tags == 0);

        Packet ipv6;
        ipv6.ipv6({.source = "2001:db8::7", .dest = "2001:db8:ffff::9"});
        const Headers six = parse((ipv6.*kind.add)({.source_port = 40001, .dest_port = 443}).frame());
        CHECK(six.verdict == Verdict::ok);
        CHECK(six.family == lib::Family::ipv6);
        CHECK(six.source == address("2001:db8::7").bytes);
        CHECK(six.dest == address("2001:db8:ffff::9").bytes);
        CHECK(six.protocol == kind.protocol);
        CHECK(six.source_port == 40001);
        CHECK(six.dest_port == 443);
        CHECK(six.l4_offset == 54);
    }
}

TEST_CASE("ICMP and ICMPv6 give type and code, and no ports",
          "[parser][dtcp:6.ports-only-there][dtcp:6.icmp-protocols]") {
    const Headers four = parse(Packet().ipv4().icmp({.type = 3, .code = 13}).frame());
    CHECK(four.verdict == Verdict::ok);
    CHECK(four.flags == flag::icmp);
    CHECK(four.icmp_type == 3);
    CHECK(four.icmp_code == 13);
    CHECK(four.source_port == 0);
    const Headers six = parse(Packet().ipv6().icmpv6({.type = 1, .code = 4}).frame());
    CHECK(six.flags == flag::icmp);
    CHECK(six.icmp_type == 1);
    CHECK(six.icmp_code == 4);
}

TEST_CASE("the packet's length is its own, not the frame's", "[parser]") {
    const Headers padded = parse(Packet().ipv4().udp().payload(1).frame(60));
    CHECK(padded.l3_length == 29);
    const Headers six = parse(Packet().ipv6().udp().payload(3).frame(90));
    CHECK(six.l3_length == 51);
}

TEST_CASE("ports that lie in the Ethernet padding are not there", "[parser]") {
    const Headers cut = parse(Packet().ipv4({.total_length = 23}).tcp().frame(60));
    CHECK(cut.verdict == Verdict::no_ports);
    CHECK(cut.flags == 0);
    CHECK(cut.source_port == 0);
    CHECK(cut.protocol == 6);
    CHECK(cut.l3_length == 23);
    CHECK(parse(Packet().ipv4({.total_length = 24}).tcp().frame(60)).verdict == Verdict::ok);
    CHECK(parse(Packet().ipv4({.total_length = 21}).icmp().frame(60)).verdict == Verdict::no_ports);
    CHECK(parse(Packet().ipv4({.total_length = 22}).icmp().frame(60)).verdict == Verdict::ok);
    CHECK(parse(Packet().ipv6({.payload_length = 3}).tcp().frame()).verdict == Verdict::no_ports);
    CHECK(parse(Packet().ipv6({.payload_length = 4}).tcp().frame()).verdict == Verdict::ok);
}

TEST_CASE("up to four VLAN tags of either kind are stepped over", "[parser]") {
    Packet packet;
    for (std::uint16_t tags = 0; tags <= 5; ++tags) {
        Packet inner = packet;
        const Headers headers = parse(inner.ipv4().tcp({.source_port = 1, .dest_port = 2}).frame());
        CAPTURE(tags);
        CHECK(headers.vlan_tags == std::min<int>(tags, 4));
        CHECK(headers.outer_vlan == (tags > 0 ? 0xa064 : 0));
        CHECK(headers.inner_vlan == (tags > 0 ? 0xa064 + std::min<int>(tags, 4) - 1 : 0));
        if (tags <= 4) {
            CHECK(headers.verdict == Verdict::ok);
            CHECK(headers.l3_offset == 14 + 4 * tags);
            CHECK(headers.dest_port == 2);
        } else {
            CHECK(headers.verdict == Verdict::vlan_depth);
        }
        packet.vlan({.id = static_cast<std::uint16_t>(100 + tags),
                     .tag_type = tags % 2 == 0 ? std::uint16_t{0x88a8} : std::uint16_t{0x8100},
                     .priority = 5});
    }
}

TEST_CASE("other ethertypes and 802.3 lengths are no IP", "[parser]") {
    for (const int type : {0x0806, 0x8863, 0x8846, 0x8849, 0x9100, 0x88cc, 0x0026, 0x0000, 0xffff}) {
        CAPTURE(type);
        CHECK(parse(Packet().raw(static_cast<std::uint16_t>(type), Bytes(46, 0x45)).frame()).verdict ==
              Verdict::not_ip);
        CHECK(parse(Packet().vlan().raw(static_cast<std::uint16_t>(type), Bytes(46, 0x45)).frame()).verdict ==
              Verdict::not_ip);
    }
}

TEST_CASE("IPv4 options of every length move the ports", "[parser]") {
    for (std::size_t size = 0; size <= 40; size += 4) {
        const Headers headers =
            parse(Packet().ipv4({.options = Bytes(size, 1)}).udp({.source_port = 5, .dest_port = 6}).frame());
        CAPTURE(size);
        CHECK(headers.verdict == Verdict::ok);
        CHECK(headers.l4_offset == 34 + size);
        CHECK(headers.source_port == 5);
    }
}

TEST_CASE("impossible IPv4 headers are named so", "[parser]") {
    CHECK(parse(Packet().ipv4({.version = 5}).tcp().frame()).verdict == Verdict::bad_ipv4);
    for (std::uint8_t words = 0; words < 5; ++words) {
        CHECK(parse(Packet().ipv4({.header_words = words}).tcp().frame()).verdict == Verdict::bad_ipv4);
    }
    CHECK(parse(Packet().ipv4({.total_length = 19}).tcp().frame()).verdict == Verdict::bad_ipv4);
    CHECK(parse(Packet().ipv4({.total_length = 0}).tcp().frame()).verdict == Verdict::bad_ipv4);
    CHECK(parse(Packet().ipv4({.options = Bytes(8, 1), .total_length = 27}).tcp().frame()).verdict ==
          Verdict::bad_ipv4);
}

TEST_CASE("a packet that is longer than its frame is truncated", "[parser]") {
    CHECK(parse(Packet().ipv4({.total_length = 41}).tcp().frame()).verdict == Verdict::truncated);
    CHECK(parse(Packet().ipv4({.total_length = 40}).tcp().frame()).verdict == Verdict::ok);
    CHECK(parse(Packet().ipv6({.payload_length = 21}).tcp().frame()).verdict == Verdict::truncated);
    CHECK(parse(Packet().ipv6({.payload_length = 20}).tcp().frame()).verdict == Verdict::ok);
    CHECK(parse(Packet().ipv6({.version = 7}).tcp().frame()).verdict == Verdict::bad_ipv6);
}

TEST_CASE("the first fragment has ports, the later ones never", "[parser]") {
    const Headers whole = parse(Packet().ipv4({.dont_fragment = true}).udp().frame());
    CHECK(whole.flags == flag::ports);
    const Headers first = parse(
        Packet().ipv4({.identification = 0x1234, .more_fragments = true}).udp({.source_port = 9}).frame());
    CHECK(first.fragment_id == 0x1234);
    CHECK(first.verdict == Verdict::ok);
    CHECK(first.flags == (flag::ports | flag::first_fragment));
    CHECK(first.source_port == 9);
    for (const bool more : {false, true}) {
        const Headers later = parse(
            Packet().ipv4({.more_fragments = more, .fragment_offset = 1}).udp({.source_port = 9}).frame());
        CHECK(later.verdict == Verdict::no_ports);
        CHECK(later.flags == flag::later_fragment);
        CHECK(later.source_port == 0);
        CHECK(later.protocol == 17);
        CHECK(later.fragment_offset == 8);
    }
    CHECK(first.fragment_offset == 0);
    CHECK(parse(Packet().ipv4({.fragment_offset = 1}).icmp().frame()).verdict == Verdict::no_ports);
    CHECK(parse(Packet().ipv4({.fragment_offset = 1}).raw(47, Bytes(8)).frame()).verdict == Verdict::ok);
}

TEST_CASE("IPv6 fragments are told apart by their fragment header", "[parser]") {
    const Headers atomic = parse(Packet().ipv6().fragment().udp({.source_port = 9}).frame());
    CHECK(atomic.flags == flag::ports);
    const Headers first = parse(Packet().ipv6().fragment({.more = true}).udp({.source_port = 9}).frame());
    CHECK(first.flags == (flag::ports | flag::first_fragment));
    CHECK(first.l4_offset == 62);
    const Headers later = parse(Packet()
                                    .ipv6()
                                    .fragment({.offset = 100, .identification = 0x8765'4321})
                                    .udp({.source_port = 9})
                                    .frame());
    CHECK(later.fragment_id == 0x8765'4321);
    CHECK(later.fragment_offset == 800);
    CHECK(later.verdict == Verdict::no_ports);
    CHECK(later.flags == flag::later_fragment);
    CHECK(later.protocol == 17);
    // What the datagram began with is an extension header: which protocol follows it, only the first one
    // tells.
    const Headers hidden = parse(Packet().ipv6().fragment({.offset = 100}).dest_options().udp().frame());
    CHECK(hidden.verdict == Verdict::extension_headers);
    CHECK(hidden.flags == flag::later_fragment);
    CHECK(hidden.protocol == unknown_protocol);
}

TEST_CASE("IPv6 extension headers are stepped over, up to eight", "[parser]") {
    const Headers all = parse(Packet()
                                  .ipv6()
                                  .hop_by_hop({.size = 16})
                                  .dest_options()
                                  .routing({.size = 24})
                                  .fragment()
                                  .authentication({.size = 24})
                                  .extension(140)
                                  .tcp({.source_port = 11, .dest_port = 12})
                                  .frame());
    CHECK(all.verdict == Verdict::ok);
    CHECK(all.protocol == 6);
    CHECK(all.dest_port == 12);
    CHECK(all.l4_offset == 54 + 16 + 8 + 24 + 8 + 24 + 8);
    for (std::size_t count = 0; count <= 10; ++count) {
        const Headers headers = parse(headers_in_a_row(count, 8).frame());
        CAPTURE(count);
        if (count <= 8) {
            CHECK(headers.verdict == Verdict::ok);
            CHECK(headers.source_port == 7);
        } else {
            CHECK(headers.verdict == Verdict::extension_headers);
            CHECK(headers.protocol == unknown_protocol);
            CHECK(headers.flags == 0);
            CHECK(headers.l4_offset == 0);
            CHECK(headers.source == address("2001:db8::1").bytes);
        }
    }
}

TEST_CASE("IPv6 extension headers are stepped over, up to 512 bytes", "[parser]") {
    CHECK(parse(headers_in_a_row(1, 512).frame()).verdict == Verdict::ok);
    CHECK(parse(headers_in_a_row(1, 520).frame()).verdict == Verdict::extension_headers);
    CHECK(parse(headers_in_a_row(2, 256).frame()).verdict == Verdict::ok);
    CHECK(parse(headers_in_a_row(3, 176).frame()).verdict == Verdict::extension_headers);
    CHECK(parse(headers_in_a_row(8, 64).frame()).verdict == Verdict::ok);
}

TEST_CASE("an extension header beyond the packet's end leaves the addresses", "[parser]") {
    for (const std::uint16_t length : {std::uint16_t{0}, std::uint16_t{7}, std::uint16_t{15}}) {
        const Headers headers =
            parse(Packet().ipv6({.payload_length = length}).hop_by_hop({.size = 16}).tcp().frame());
        CAPTURE(length);
        CHECK(headers.verdict == Verdict::extension_headers);
        CHECK(headers.protocol == unknown_protocol);
    }
    const Headers exact = parse(Packet().ipv6({.payload_length = 16}).hop_by_hop({.size = 16}).tcp().frame());
    CHECK(exact.verdict == Verdict::no_ports);
    CHECK(exact.protocol == 6);
    CHECK(parse(Packet().ipv6().hop_by_hop({.size = 8, .length = 200}).tcp().frame()).verdict ==
          Verdict::extension_headers);
}

TEST_CASE("what hides or carries nothing is a protocol of its own", "[parser][dtcp:6.ports-only-there]") {
    for (const int protocol : {50, 59, 135, 139, 47, 41, 4}) {
        const Headers headers = parse(
            Packet().ipv6().hop_by_hop().raw(static_cast<std::uint16_t>(protocol), Bytes(16, 0)).frame());
        CAPTURE(protocol);
        CHECK(headers.verdict == Verdict::ok);
        CHECK(headers.protocol == protocol);
        CHECK(headers.flags == 0);
    }
    // In IPv4 there are no extension headers.
    CHECK(parse(Packet().ipv4().raw(51, Bytes(32, 0)).frame()).protocol == 51);
}

TEST_CASE("every prefix of every kind of frame is judged as the reference judges it", "[parser]") {
    for (const Bytes& whole : every_kind()) {
        for (std::size_t size = 0; size <= whole.size(); ++size) {
            const Exact cut(whole, size);
            const Headers headers = parse_frame(cut.frame());
            const Reading expected = reference_parse(std::span(whole).first(size));
            INFO("frame of " << whole.size() << " bytes cut to " << size);
            REQUIRE(reading_of(headers) == expected);
        }
    }
}

TEST_CASE("a frame of which only a part is readable gives no more than is there", "[parser]") {
    for (const Bytes& whole : every_kind()) {
        const Reading full = reference_parse(whole);
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const Exact part(whole, size);
            const Reading reading = reading_of(parse_frame(part.frame(whole.size())));
            INFO("frame of " << whole.size() << " bytes, " << size << " readable");
            if (!reading.facts) {
                CHECK((reading.outcome == Outcome::truncated || reading.outcome == full.outcome));
                continue;
            }
            REQUIRE(full.facts);
            CHECK(reading.facts->source == full.facts->source);
            CHECK(reading.facts->dest == full.facts->dest);
            CHECK(reading.facts->l3_length == full.facts->l3_length);
            CHECK((!reading.facts->protocol || reading.facts->protocol == full.facts->protocol));
            CHECK((!reading.facts->ports || reading.facts->ports == full.facts->ports));
            CHECK((!reading.facts->icmp || reading.facts->icmp == full.facts->icmp));
        }
    }
}

TEST_CASE("random frames are read as they were built, and as the reference reads them", "[parser]") {
    RandomTraffic traffic(1, 8);
    for (int i = 0; i < 20'000; ++i) {
        const RandomTraffic::Sample sample = traffic.frame();
        Reading reading = reading_of(parse(sample.frame));
        INFO(to_string(sample.facts));
        REQUIRE(reading == reference_parse(sample.frame));
        REQUIRE(reading.facts);
        reading.facts->l3_offset = 0;
        reading.facts->l3_length = 0;
        REQUIRE(*reading.facts == sample.facts);
    }
}

TEST_CASE("damaged frames are read as the reference reads them", "[parser]") {
    RandomTraffic traffic(2, 8);
    for (int i = 0; i < 100'000; ++i) {
        Bytes frame = traffic.frame().frame;
        for (std::uint64_t changes = 1 + traffic.below(3); changes > 0; --changes) {
            // Mostly in the headers.
            frame[12 +
                  traffic.below(std::min<std::size_t>(frame.size() - 12, traffic.chance(80) ? 60 : 500))] =
                static_cast<std::uint8_t>(traffic.below(256));
        }
        const Exact exact(frame, traffic.chance(30) ? traffic.below(frame.size()) : frame.size());
        const Frame view = exact.frame();
        INFO(i);
        REQUIRE(reading_of(parse_frame(view)) == reference_parse({view.data, view.readable}));
    }
}

TEST_CASE("a burst is its frames, one by one, and its masks are their verdicts", "[parser]") {
    RandomTraffic traffic(3, 8);
    std::vector<Bytes> kinds = every_kind();
    const auto burst = std::make_unique<HeaderBurst>();
    for (std::size_t count = 0; count <= max_burst + 3; ++count) {
        std::vector<Bytes> frames;
        std::vector<Frame> views;
        for (std::size_t i = 0; i < count; ++i) {
            frames.push_back(traffic.chance(50) ? traffic.frame().frame : kinds[traffic.below(kinds.size())]);
        }
        for (const Bytes& frame : frames) {
            const auto size = static_cast<std::uint32_t>(frame.size());
            views.push_back({frame.data(), size, size});
        }
        parse_burst(views, *burst);
        REQUIRE(burst->count == std::min(count, max_burst));
        for (std::size_t i = 0; i < 64; ++i) {
            INFO("frame " << i << " of " << count);
            const bool ipv4 = (burst->ipv4 >> i & 1) != 0;
            const bool ipv6 = (burst->ipv6 >> i & 1) != 0;
            const bool uneven = (burst->uneven >> i & 1) != 0;
            if (i >= count) {
                REQUIRE_FALSE((ipv4 || ipv6 || uneven));
                continue;
            }
            const Headers one = parse_frame(views[i]);
            REQUIRE(reading_of(burst->headers[i]) == reading_of(one));
            REQUIRE(burst->headers[i].vlan_tags == one.vlan_tags);
            REQUIRE(burst->headers[i].outer_vlan == one.outer_vlan);
            REQUIRE(burst->headers[i].inner_vlan == one.inner_vlan);
            REQUIRE(burst->headers[i].flags == one.flags);
            REQUIRE(burst->headers[i].l4_offset == one.l4_offset);
            REQUIRE(uneven == (one.verdict != Verdict::ok));
            REQUIRE((ipv4 || ipv6) == matchable(one.verdict));
            if (ipv4) {
                REQUIRE(one.family == lib::Family::ipv4);
                const auto& bytes = one.source;
                REQUIRE(burst->source4[i] == (std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
                                              std::uint32_t{bytes[2]} << 8 | bytes[3]));
                REQUIRE((burst->dest4[i] & 0xff) == one.dest[3]);
                REQUIRE(burst->dest4[i] >> 24 == one.dest[0]);
            }
            if (ipv6) {
                REQUIRE(one.family == lib::Family::ipv6);
            }
        }
    }
    exclude(*burst, 5);
    CHECK((burst->ipv4 >> 5 & 1) == 0);
    CHECK((burst->ipv6 >> 5 & 1) == 0);
}

TEST_CASE("a frame of a burst that is parsed anew is the one that it is now", "[parser]") {
    const std::vector<Bytes> kinds = every_kind();
    const auto burst = std::make_unique<HeaderBurst>();
    for (const Bytes& before : kinds) {
        for (const Bytes& after : kinds) {
            const auto size = [](const Bytes& bytes) { return static_cast<std::uint32_t>(bytes.size()); };
            const std::vector<Frame> views(3, {before.data(), size(before), size(before)});
            parse_burst(views, *burst);
            const Headers wanted = parse(after);
            const HeaderBurst old = *burst;
            parse_again({after.data(), size(after), size(after)}, 1, *burst);
            const bool ipv4 = wanted.family == lib::Family::ipv4;
            const bool match = matchable(wanted.verdict);
            REQUIRE(reading_of(burst->headers[1]) == reading_of(wanted));
            REQUIRE(burst->ipv4 == ((old.ipv4 & 5) | (match && ipv4 ? 2U : 0U)));
            REQUIRE(burst->ipv6 == ((old.ipv6 & 5) | (match && !ipv4 ? 2U : 0U)));
            REQUIRE(burst->uneven == ((old.uneven & 5) | (wanted.verdict != Verdict::ok ? 2U : 0U)));
            REQUIRE(burst->frames == 7);
        }
    }
}

TEST_CASE("every verdict but ok has its counter", "[parser]") {
    CHECK_FALSE(counter_of(Verdict::ok));
    CHECK(counter_of(Verdict::no_ports) == lib::WorkerCounter::parse_no_ports);
    CHECK(counter_of(Verdict::extension_headers) == lib::WorkerCounter::parse_extension_headers);
    CHECK(counter_of(Verdict::truncated) == lib::WorkerCounter::parse_truncated);
    CHECK(counter_of(Verdict::vlan_depth) == lib::WorkerCounter::parse_vlan_depth);
    CHECK(counter_of(Verdict::mpls_depth) == lib::WorkerCounter::parse_mpls_depth);
    CHECK(counter_of(Verdict::bad_pppoe) == lib::WorkerCounter::parse_bad_pppoe);
    CHECK(counter_of(Verdict::not_ip) == lib::WorkerCounter::parse_not_ip);
    CHECK(counter_of(Verdict::bad_ipv4) == lib::WorkerCounter::parse_bad_ipv4);
    CHECK(counter_of(Verdict::bad_ipv6) == lib::WorkerCounter::parse_bad_ipv6);
}

}  // namespace
}  // namespace flowtap::test
