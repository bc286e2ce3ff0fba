#include "dataplane/match/inner_parser.h"

#include "dataplane/match/byte_order.h"
#include "dataplane/match/ethertypes.h"
#include "lib/address.h"

#include <algorithm>
#include <cassert>

namespace flowtap::dataplane::match {
namespace {

constexpr std::uint32_t udp_size = 8;
constexpr std::uint32_t vxlan_size = 8;

/// What a tunnel carries.
struct Cargo {
    enum class Kind : std::uint8_t { ethernet, ipv4, ipv6 };

    InnerVerdict verdict = InnerVerdict::parsed;  ///< else there is none, and why
    Kind kind = Kind::ipv4;
    std::uint32_t offset = 0;  ///< from the frame's first byte
};

/// The outer packet's bytes: `data` is the frame's begin, readable up to `readable`; the packet may go on to
/// `end`, if need be in fragments that follow.
struct Span {
    const std::uint8_t* data;
    std::uint32_t readable;
    std::uint32_t end;

    bool has(std::uint32_t at, std::uint32_t size) const { return at + size <= readable; }
};

Cargo without(InnerVerdict verdict) {
    return {.verdict = verdict};
}

Cargo find_in_gre(const Span& packet, std::uint32_t at) {
    constexpr std::uint32_t checksum = 0x8000;
    constexpr std::uint32_t key = 0x2000;
    constexpr std::uint32_t sequence = 0x1000;
    constexpr std::uint32_t version = 0x0007;
    // Bits 1, 4 and 5: routing and the like, for which RFC 2784 section 2.3 has the packet discarded.
    constexpr std::uint32_t not_known = 0x4c00;
    constexpr std::uint16_t transparent_ethernet = 0x6558;
    if (!packet.has(at, 4)) {
        return without(InnerVerdict::truncated);
    }
    const std::uint32_t flags = load_be16(packet.data + at);
    const std::uint16_t type = load_be16(packet.data + at + 2);
    if ((flags & version) != 0) {
        return without(InnerVerdict::not_ip);  // 1 is PPTP's, which carries PPP
    }
    if ((flags & not_known) != 0) {
        return without(InnerVerdict::malformed);
    }
    for (const std::uint32_t part : {checksum, key, sequence}) {
        at += (flags & part) != 0 ? 4U : 0U;
    }
    at += 4;
    switch (type) {
        case type_ipv4:
            return {.kind = Cargo::Kind::ipv4, .offset = at};
        case type_ipv6:
            return {.kind = Cargo::Kind::ipv6, .offset = at};
        case transparent_ethernet:
            return {.kind = Cargo::Kind::ethernet, .offset = at};
        default:
            return without(InnerVerdict::not_ip);
    }
}

/// Behind the 12 bytes of header and optional fields, whose last one names the first extension header
/// (section 5.2): each says its length in units of 4 bytes first, and the next one's type last.
Cargo skip_gtp_extensions(const Span& packet, std::uint32_t at, std::uint8_t next) {
    const std::uint32_t first = at;
    for (std::size_t count = 0; next != 0; ++count) {
        if (count == max_gtp_extensions) {
            return without(InnerVerdict::depth);
        }
        if (!packet.has(at, 1)) {
            return without(InnerVerdict::truncated);
        }
        const std::uint32_t size = packet.data[at] * 4U;
        if (size == 0) {
            return without(InnerVerdict::malformed);
        }
        if (at + size - first > max_gtp_extension_bytes) {
            return without(InnerVerdict::depth);
        }
        if (!packet.has(at, size)) {
            return without(InnerVerdict::truncated);
        }
        at += size;
        next = packet.data[at - 1];
    }
    return {.offset = at};
}

Cargo find_in_gtp(Span& packet, std::uint32_t at) {
    constexpr std::uint32_t mandatory = 8;
    constexpr std::uint32_t optional = 4;
    constexpr std::uint8_t version_1_gtp = 0x30;  // of the bits 0xf0
    constexpr std::uint8_t extension = 0x04;
    constexpr std::uint8_t any_optional = 0x07;
    constexpr std::uint8_t g_pdu = 255;
    if (!packet.has(at, mandatory)) {
        return without(InnerVerdict::truncated);
    }
    const std::uint8_t* const header = packet.data + at;
    if ((header[0] & 0xf0) != version_1_gtp) {
        return without(InnerVerdict::malformed);
    }
    if (header[1] != g_pdu) {
        return without(InnerVerdict::not_ip);
    }
    const std::uint32_t end = at + mandatory + load_be16(header + 2);
    if (end > packet.end) {
        return without(InnerVerdict::malformed);
    }
    packet.end = end;
    packet.readable = std::min(packet.readable, end);
    at += mandatory;
    Cargo cargo{.offset = at};
    if ((header[0] & any_optional) != 0) {
        if (!packet.has(at, optional)) {
            return without(InnerVerdict::truncated);
        }
        const std::uint8_t next = (header[0] & extension) != 0 ? header[11] : std::uint8_t{0};
        cargo = skip_gtp_extensions(packet, at + optional, next);
    }
    if (cargo.verdict != InnerVerdict::parsed) {
        return cargo;
    }
    if (!packet.has(cargo.offset, 1)) {
        return without(InnerVerdict::truncated);
    }
    // The type of the session, which only its signalling tells, shows in the version field.
    switch (packet.data[cargo.offset] >> 4) {
        case 4:
            cargo.kind = Cargo::Kind::ipv4;
            return cargo;
        case 6:
            cargo.kind = Cargo::Kind::ipv6;
            return cargo;
        default:
            return without(InnerVerdict::not_ip);
    }
}

Cargo find_in_vxlan(const Span& packet, std::uint32_t at) {
    constexpr std::uint8_t valid_vni = 0x08;
    if (!packet.has(at, vxlan_size)) {
        return without(InnerVerdict::truncated);
    }
    if ((packet.data[at] & valid_vni) == 0) {
        return without(InnerVerdict::malformed);
    }
    return {.kind = Cargo::Kind::ethernet, .offset = at + vxlan_size};
}

Cargo find_in_udp(Span& packet, std::uint32_t at, std::uint16_t dest_port) {
    if (!packet.has(at, udp_size)) {
        return without(InnerVerdict::truncated);
    }
    const std::uint32_t length = load_be16(packet.data + at + 4);
    if (length < udp_size || at + length > packet.end) {
        return without(InnerVerdict::malformed);
    }
    packet.end = at + length;
    packet.readable = std::min(packet.readable, packet.end);
    at += udp_size;
    return dest_port == gtp_u_port ? find_in_gtp(packet, at) : find_in_vxlan(packet, at);
}

InnerVerdict verdict_of(Verdict verdict) {
    switch (verdict) {
        case Verdict::ok:
        case Verdict::no_ports:
        case Verdict::extension_headers:
            return InnerVerdict::parsed;
        case Verdict::truncated:
            return InnerVerdict::truncated;
        case Verdict::vlan_depth:
        case Verdict::mpls_depth:
            return InnerVerdict::depth;
        case Verdict::not_ip:
            return InnerVerdict::not_ip;
        case Verdict::bad_pppoe:
        case Verdict::bad_ipv4:
        case Verdict::bad_ipv6:
            return InnerVerdict::malformed;
    }
    return InnerVerdict::malformed;
}

}  // namespace

Inner parse_inner(const InnerTunnels& tunnels, const Frame& frame, const Headers& outer) noexcept {
    assert(matchable(outer.verdict));
    Inner inner{};
    if (!may_be_tunnel(tunnels, outer)) {
        return inner;
    }
    if ((outer.flags & flag::later_fragment) != 0) {
        inner.verdict = InnerVerdict::later_fragment;
        return inner;
    }
    // What the first of several fragments carries goes on in the others: nobody knows here how far.
    const bool first = (outer.flags & flag::first_fragment) != 0;
    const std::uint32_t packet_end = std::uint32_t{outer.l3_offset} + outer.l3_length;
    Span packet{.data = frame.data,
                .readable = std::min(frame.readable, packet_end),
                .end = first ? outer.l3_offset + std::uint32_t{0x2'0000} : packet_end};
    const Cargo cargo = outer.protocol == gre_protocol
                            ? find_in_gre(packet, outer.l4_offset)
                            : find_in_udp(packet, outer.l4_offset, outer.dest_port);
    inner.verdict = cargo.verdict;
    if (cargo.verdict != InnerVerdict::parsed) {
        return inner;
    }
    if (cargo.offset > packet.readable) {
        inner.verdict = InnerVerdict::truncated;
        return inner;
    }
    const Frame carried{.data = packet.data + cargo.offset,
                        .readable = packet.readable - cargo.offset,
                        .length = packet.end - cargo.offset};
    inner.headers =
        cargo.kind == Cargo::Kind::ethernet
            ? parse_frame(carried)
            : parse_packet(carried, cargo.kind == Cargo::Kind::ipv4 ? lib::Family::ipv4 : lib::Family::ipv6);
    inner.verdict = verdict_of(inner.headers.verdict);
    inner.headers.vlan_tags = outer.vlan_tags;
    inner.headers.outer_vlan = outer.outer_vlan;
    inner.headers.inner_vlan = outer.inner_vlan;
    return inner;
}

}  // namespace flowtap::dataplane::match
