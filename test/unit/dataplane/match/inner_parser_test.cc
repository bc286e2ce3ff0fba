// What tunnels carry, byte by byte: every form that is looked into, and every way in which it can be wrong.
#include "dataplane/match/inner_parser.h"

#include "dataplane/match/frame_parser.h"
#include "test/support/packets.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

constexpr InnerTunnels all{.gre = true, .gtp_u = true, .vxlan = true};
constexpr std::uint16_t gre = 47;
constexpr std::size_t ethernet = 14;

struct Read {
    Headers outer;
    Inner inner;
};

/// The first `readable` bytes are in memory of their own size, so that a sanitizer sees a read beyond them.
Read read(const Bytes& frame, std::size_t readable, const InnerTunnels& tunnels = all) {
    const auto exact = std::make_unique<std::uint8_t[]>(readable);
    std::copy_n(frame.begin(), readable, exact.get());
    const Frame view{exact.get(), static_cast<std::uint32_t>(readable),
                     static_cast<std::uint32_t>(frame.size())};
    Read result{.outer = parse_frame(view), .inner = {}};
    if (matchable(result.outer.verdict)) {
        result.inner = parse_inner(tunnels, view, result.outer);
    }
    return result;
}

Inner inner_of(const Bytes& frame, const InnerTunnels& tunnels = all) {
    return read(frame, frame.size(), tunnels).inner;
}

Bytes join(std::initializer_list<Bytes> parts) {
    Bytes whole;
    for (const Bytes& part : parts) {
        whole.insert(whole.end(), part.begin(), part.end());
    }
    return whole;
}

Bytes without_ethernet(const Packet& packet) {
    const Bytes frame = packet.frame();
    return {frame.begin() + ethernet, frame.end()};
}

Packet inner_ipv4() {
    Packet packet;
    packet.ipv4({.source = "10.1.2.3", .dest = "10.9.8.7"})
        .tcp({.source_port = 40001, .dest_port = 443})
        .payload(20);
    return packet;
}

Packet inner_ipv6() {
    Packet packet;
    packet.ipv6({.source = "2001:db8::7", .dest = "2001:db8::9"})
        .udp({.source_port = 5353, .dest_port = 53})
        .payload(20);
    return packet;
}

Bytes in_gre(std::uint16_t flags, std::uint16_t type, Bytes options, const Bytes& payload) {
    const Bytes header{static_cast<std::uint8_t>(flags >> 8), static_cast<std::uint8_t>(flags),
                       static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type)};
    return Packet().ipv4().raw(gre, join({header, options, payload})).frame();
}

/// `flags`: the first byte; `rest`: what the flags say follows the 8 bytes.
Bytes gtp_header(std::uint8_t flags, std::uint8_t type, const Bytes& rest, std::size_t payload) {
    const std::size_t length = rest.size() + payload;
    return join(
        {{flags, type, static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length), 0, 0, 0, 9},
         rest});
}

Bytes in_gtp(const Bytes& payload, std::uint8_t flags = 0x30, const Bytes& rest = {},
             std::uint8_t type = 255) {
    return Packet()
        .ipv4()
        .udp({.source_port = 40000, .dest_port = gtp_u_port})
        .payload(join({gtp_header(flags, type, rest, payload.size()), payload}))
        .frame();
}

Bytes in_vxlan(const Bytes& payload, std::uint8_t flags = 0x08) {
    return Packet()
        .ipv6()
        .udp({.source_port = 40000, .dest_port = vxlan_port})
        .payload(join({{flags, 0, 0, 0, 0, 0, 42, 0}, payload}))
        .frame();
}

void check_ipv4(const Inner& inner) {
    REQUIRE(inner.verdict == InnerVerdict::parsed);
    const Headers& headers = inner.headers;
    CHECK(headers.verdict == Verdict::ok);
    CHECK(headers.family == lib::Family::ipv4);
    CHECK(headers.source == lib::parse_address("10.1.2.3").value().bytes);
    CHECK(headers.dest == lib::parse_address("10.9.8.7").value().bytes);
    CHECK(headers.protocol == 6);
    CHECK(headers.flags == flag::ports);
    CHECK(headers.source_port == 40001);
    CHECK(headers.dest_port == 443);
}

void check_ipv6(const Inner& inner) {
    REQUIRE(inner.verdict == InnerVerdict::parsed);
    const Headers& headers = inner.headers;
    CHECK(headers.verdict == Verdict::ok);
    CHECK(headers.family == lib::Family::ipv6);
    CHECK(headers.source == lib::parse_address("2001:db8::7").value().bytes);
    CHECK(headers.dest == lib::parse_address("2001:db8::9").value().bytes);
    CHECK(headers.protocol == 17);
    CHECK(headers.source_port == 5353);
    CHECK(headers.dest_port == 53);
}

TEST_CASE("GRE: every optional field, both families and transparent Ethernet", "[inner]") {
    const Bytes four = without_ethernet(inner_ipv4());
    const Bytes six = without_ethernet(inner_ipv6());
    for (const std::uint16_t flags : std::initializer_list<std::uint16_t>{0x0000, 0x8000, 0x2000, 0x1000,
                                                                          0xa000, 0x9000, 0x3000, 0xb000}) {
        // Bits 6 to 12 are to be ignored (RFC 2784 section 2.3).
        for (const std::uint16_t ignored : std::initializer_list<std::uint16_t>{0x0000, 0x03f8}) {
            CAPTURE(flags, ignored);
            Bytes options;
            for (const std::uint16_t part : std::initializer_list<std::uint16_t>{0x8000, 0x2000, 0x1000}) {
                options.insert(options.end(), (flags & part) != 0 ? 4U : 0U, std::uint8_t{0x45});
            }
            const auto word = static_cast<std::uint16_t>(flags | ignored);
            check_ipv4(inner_of(in_gre(word, 0x0800, options, four)));
            check_ipv6(inner_of(in_gre(word, 0x86dd, options, six)));
            check_ipv4(inner_of(in_gre(word, 0x6558, options, inner_ipv4().frame())));
            check_ipv6(inner_of(in_gre(word, 0x6558, options, inner_ipv6().frame())));
        }
    }
    // Over IPv6, too, and behind extension headers.
    const Bytes header{0, 0, 0x08, 0};
    check_ipv4(inner_of(Packet().ipv6().dest_options().raw(gre, join({header, four})).frame()));
}

TEST_CASE("GRE that is not looked into says why", "[inner]") {
    const Bytes four = without_ethernet(inner_ipv4());
    for (const std::uint16_t flag : std::initializer_list<std::uint16_t>{0x4000, 0x0800, 0x0400}) {
        CHECK(inner_of(in_gre(flag, 0x0800, {}, four)).verdict == InnerVerdict::malformed);
    }
    CHECK(inner_of(in_gre(0x3001, 0x880b, Bytes(8), four)).verdict == InnerVerdict::not_ip);  // PPTP
    CHECK(inner_of(in_gre(0, 0x8847, {}, four)).verdict == InnerVerdict::not_ip);
    CHECK(inner_of(in_gre(0, 0, {}, {})).verdict == InnerVerdict::not_ip);  // a keep-alive
    CHECK(inner_of(in_gre(0, 0x0800, {}, without_ethernet(inner_ipv6()))).verdict == InnerVerdict::malformed);
    CHECK(inner_of(in_gre(0, 0x6558, {}, Packet().raw(0x0806, Bytes(28)).frame())).verdict ==
          InnerVerdict::not_ip);
}

TEST_CASE("GTP-U: optional fields and extension headers", "[inner]") {
    const Bytes four = without_ethernet(inner_ipv4());
    check_ipv4(inner_of(in_gtp(four)));
    check_ipv6(inner_of(in_gtp(without_ethernet(inner_ipv6()))));
    for (std::uint8_t flags = 1; flags <= 7; ++flags) {
        CAPTURE(int{flags});
        // Without the E flag the type of the next extension header is not to be looked at.
        const Bytes optional{0x12, 0x34, 0x56, (flags & 4) != 0 ? std::uint8_t{0} : std::uint8_t{0x85}};
        check_ipv4(inner_of(in_gtp(four, static_cast<std::uint8_t>(0x30 | flags), optional)));
    }
    // A PDU session container (4 bytes), then one of 8 bytes, then the last.
    const Bytes two{0, 0, 0, 0x85, 1, 0x10, 0x05, 0xc0, 2, 1, 2, 3, 4, 5, 6, 0};
    check_ipv4(inner_of(in_gtp(four, 0x34, two)));
    // Its spare bit (29.281 section 5.1) says nothing.
    check_ipv4(inner_of(in_gtp(four, 0x38)));
}

TEST_CASE("GTP-U that is not looked into says why", "[inner]") {
    const Bytes four = without_ethernet(inner_ipv4());
    for (const std::uint8_t type : std::initializer_list<std::uint8_t>{1, 2, 26, 31, 254}) {
        CHECK(inner_of(in_gtp(four, 0x30, {}, type)).verdict == InnerVerdict::not_ip);
    }
    CHECK(inner_of(in_gtp(four, 0x50)).verdict == InnerVerdict::malformed);    // version 2
    CHECK(inner_of(in_gtp(four, 0x20)).verdict == InnerVerdict::malformed);    // GTP'
    CHECK(inner_of(in_gtp(Bytes(40, 0x02))).verdict == InnerVerdict::not_ip);  // Ethernet, say
    CHECK(inner_of(in_gtp({})).verdict == InnerVerdict::truncated);
    const auto chain = [&](std::size_t headers, std::uint8_t words) {
        Bytes rest{0, 0, 0, 0x85};
        for (std::size_t i = 0; i < headers; ++i) {
            Bytes header(words * 4U, 0);
            header.front() = words;
            header.back() = i + 1 < headers ? 0x85 : 0;
            rest = join({rest, header});
        }
        return inner_of(in_gtp(four, 0x34, rest)).verdict;
    };
    CHECK(chain(max_gtp_extensions, 1) == InnerVerdict::parsed);
    CHECK(chain(max_gtp_extensions + 1, 1) == InnerVerdict::depth);
    CHECK(chain(1, max_gtp_extension_bytes / 4) == InnerVerdict::parsed);
    CHECK(chain(1, max_gtp_extension_bytes / 4 + 1) == InnerVerdict::depth);
    CHECK(chain(2, max_gtp_extension_bytes / 8 + 1) == InnerVerdict::depth);
    CHECK(inner_of(in_gtp(four, 0x34, {0, 0, 0, 0x85, 0, 0, 0, 0})).verdict == InnerVerdict::malformed);
    // A length beyond the UDP payload; one that ends inside of the inner packet.
    Bytes frame = in_gtp(four);
    frame[ethernet + 20 + 8 + 3]++;
    CHECK(inner_of(frame).verdict == InnerVerdict::malformed);
    frame[ethernet + 20 + 8 + 3] = static_cast<std::uint8_t>(frame[ethernet + 20 + 8 + 3] - 2);
    CHECK(inner_of(frame).verdict == InnerVerdict::truncated);
    // A length that ends anywhere before, in the optional fields and extension headers too: what is behind it
    // is not there, whatever stands there.
    const Bytes rest{0, 0, 0, 0x85, 1, 0x10, 0x05, 0};
    Bytes extended = in_gtp(four, 0x34, rest);
    for (std::uint8_t length = 0; length < rest.size() + four.size(); ++length) {
        CAPTURE(int{length});
        extended[ethernet + 20 + 8 + 3] = length;
        CHECK(inner_of(extended).verdict == InnerVerdict::truncated);
    }
}

TEST_CASE("VXLAN: the frame inside, with what it has of tags and labels", "[inner]") {
    check_ipv4(inner_of(in_vxlan(inner_ipv4().frame())));
    check_ipv6(inner_of(in_vxlan(inner_ipv6().frame(), 0xff)));
    check_ipv4(inner_of(in_vxlan(Packet()
                                     .vlan({.id = 7})
                                     .ipv4({.source = "10.1.2.3", .dest = "10.9.8.7"})
                                     .tcp({40001, 443})
                                     .frame())));
    CHECK(inner_of(in_vxlan(inner_ipv4().frame(), 0xf7)).verdict == InnerVerdict::malformed);
    CHECK(inner_of(in_vxlan(Packet().raw(0x0806, Bytes(28)).frame())).verdict == InnerVerdict::not_ip);
    CHECK(inner_of(in_vxlan({})).verdict == InnerVerdict::truncated);
    Packet tagged;
    for (std::size_t i = 0; i <= max_vlan_tags; ++i) {
        tagged.vlan();
    }
    CHECK(inner_of(in_vxlan(tagged.ipv4().udp().frame())).verdict == InnerVerdict::depth);
}

TEST_CASE("only the tunnels that are asked for are looked into, by protocol and destination port",
          "[inner]") {
    const Bytes four = without_ethernet(inner_ipv4());
    const Bytes in_gre_frame = in_gre(0, 0x0800, {}, four);
    const Bytes in_gtp_frame = in_gtp(four);
    const Bytes in_vxlan_frame = in_vxlan(inner_ipv4().frame());
    for (const bool on : {false, true}) {
        const InnerVerdict wanted = on ? InnerVerdict::parsed : InnerVerdict::none;
        CHECK(inner_of(in_gre_frame, {.gre = on, .gtp_u = !on, .vxlan = !on}).verdict == wanted);
        CHECK(inner_of(in_gtp_frame, {.gre = !on, .gtp_u = on, .vxlan = !on}).verdict == wanted);
        CHECK(inner_of(in_vxlan_frame, {.gre = !on, .gtp_u = !on, .vxlan = on}).verdict == wanted);
    }
    const Bytes back =
        Packet().ipv4().udp({.source_port = gtp_u_port, .dest_port = 40000}).payload(four).frame();
    CHECK(inner_of(back).verdict == InnerVerdict::none);
    const Bytes tcp = Packet().ipv4().tcp({.source_port = 1, .dest_port = gtp_u_port}).payload(four).frame();
    CHECK(inner_of(tcp).verdict == InnerVerdict::none);
}

TEST_CASE("the interface of an inner packet is the wire's", "[inner]") {
    const Bytes payload = join({{0x08, 0, 0, 0, 0, 0, 42, 0}, Packet().vlan({.id = 7}).ipv4().udp().frame()});
    const Bytes frame =
        Packet().vlan({.id = 100}).vlan({.id = 200}).ipv4().udp({1, vxlan_port}).payload(payload).frame();
    const Inner inner = inner_of(frame);
    REQUIRE(inner.verdict == InnerVerdict::parsed);
    CHECK(inner.headers.outer_vlan == 100);
    CHECK(inner.headers.inner_vlan == 200);
    CHECK(inner.headers.vlan_tags == 2);
}

TEST_CASE("a first fragment of a tunnel packet is looked into, later ones say that they are", "[inner]") {
    const Bytes long_inner = without_ethernet(
        Packet().ipv4({.source = "10.1.2.3", .dest = "10.9.8.7"}).tcp({40001, 443}).payload(1400));
    const Bytes in_tunnel = join({{0, 0, 0x08, 0}, long_inner});
    const Bytes first(in_tunnel.begin(), in_tunnel.begin() + 800);
    check_ipv4(inner_of(Packet().ipv4({.more_fragments = true}).raw(gre, first).frame()));
    check_ipv4(inner_of(Packet().ipv6().fragment({.more = true}).raw(gre, first).frame()));
    const Bytes rest(in_tunnel.begin() + 800, in_tunnel.end());
    CHECK(inner_of(Packet().ipv4({.fragment_offset = 100}).raw(gre, rest).frame()).verdict ==
          InnerVerdict::later_fragment);
    // The lengths of UDP and GTP-U go on beyond a first fragment, too.
    const Bytes gtp = join({gtp_header(0x30, 255, {}, long_inner.size()), long_inner});
    const auto length = static_cast<std::uint16_t>(8 + gtp.size());
    const Bytes udp{0x9c,
                    0x40,
                    gtp_u_port >> 8,
                    gtp_u_port & 0xff,
                    static_cast<std::uint8_t>(length >> 8),
                    static_cast<std::uint8_t>(length),
                    0,
                    0};
    const Bytes datagram = join({udp, gtp});
    check_ipv4(inner_of(Packet()
                            .ipv4({.more_fragments = true})
                            .raw(17, Bytes(datagram.begin(), datagram.begin() + 800))
                            .frame()));
    // The same bytes in a packet that is whole are too short.
    CHECK(
        inner_of(Packet().ipv4().raw(17, Bytes(datagram.begin(), datagram.begin() + 800)).frame()).verdict ==
        InnerVerdict::malformed);
    CHECK(inner_of(Packet().ipv4().raw(gre, first).frame()).verdict == InnerVerdict::truncated);
}

TEST_CASE("inner fragments are read as fragments", "[inner]") {
    const Bytes later = without_ethernet(Packet().ipv4({.fragment_offset = 10}).raw(17, Bytes(40)));
    const Inner inner = inner_of(in_gre(0, 0x0800, {}, later));
    REQUIRE(inner.verdict == InnerVerdict::parsed);
    CHECK(inner.headers.verdict == Verdict::no_ports);
    CHECK((inner.headers.flags & flag::later_fragment) != 0);
    CHECK((inner.headers.flags & flag::ports) == 0);
}

TEST_CASE("a tunnel packet cut at every byte is read as far as it goes, never beyond", "[inner]") {
    const Bytes extended{0, 0, 0, 0x85, 1, 0x10, 0x05, 0xc0, 2, 1, 2, 3, 4, 5, 6, 0};
    for (const Bytes& frame :
         {in_gre(0xb000, 0x0800, Bytes(12), without_ethernet(inner_ipv4())),
          in_gre(0, 0x6558, {}, inner_ipv6().frame()), in_gtp(without_ethernet(inner_ipv4()), 0x34, extended),
          in_vxlan(inner_ipv6().frame()), in_vxlan(inner_ipv4().frame())}) {
        InnerVerdict last = InnerVerdict::none;
        for (std::size_t readable = 0; readable <= frame.size(); ++readable) {
            CAPTURE(readable);
            // The rest lies in another buffer.
            const Read chained = read(frame, readable);
            if (!matchable(chained.outer.verdict) || chained.inner.verdict == InnerVerdict::none) {
                continue;
            }
            last = chained.inner.verdict;
            CHECK((last == InnerVerdict::truncated || last == InnerVerdict::parsed));
        }
        CHECK(last == InnerVerdict::parsed);
    }
}

TEST_CASE("bytes behind what the lengths say belong to nobody", "[inner]") {
    // The inner packet goes on in the Ethernet padding of the outer frame.
    Bytes frame = in_gre(0, 0x0800, {}, without_ethernet(inner_ipv4()));
    frame[ethernet + 3] = static_cast<std::uint8_t>(frame[ethernet + 3] - 1);
    CHECK(inner_of(frame).verdict == InnerVerdict::truncated);
    // And behind the UDP datagram.
    Bytes udp = in_gtp(without_ethernet(inner_ipv4()));
    udp[ethernet + 20 + 5] = static_cast<std::uint8_t>(udp[ethernet + 20 + 5] - 1);
    CHECK(inner_of(udp).verdict == InnerVerdict::malformed);
    Bytes vxlan = in_vxlan(inner_ipv4().frame());
    for (std::uint8_t length = 8; length < vxlan.size() - ethernet - 40; ++length) {
        CAPTURE(int{length});
        vxlan[ethernet + 40 + 5] = length;
        CHECK(inner_of(vxlan).verdict == InnerVerdict::truncated);
    }
    udp[ethernet + 20 + 5] = 7;
    CHECK(inner_of(udp).verdict == InnerVerdict::malformed);
}

}  // namespace
}  // namespace flowtap::test
