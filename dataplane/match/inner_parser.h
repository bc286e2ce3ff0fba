// What a tunnel over IP carries, one level deep: GRE (RFC 2784, RFC 2890) with IPv4, IPv6 or transparent
// Ethernet, GTP-U (3GPP TS 29.281) with IPv4 or IPv6, and VXLAN (RFC 7348).
//
// Nothing is read beyond Frame::readable, every loop has a cap, and every byte that decides is checked
// against the lengths of the outer IP and UDP headers first. The first fragment of an outer packet is looked
// into as far as it goes; a later one holds no header of the tunnel. A tunnel inside of the inner packet is
// not looked into.
//
// Thread safety: pure functions.
#pragma once

#include "dataplane/match/frame_parser.h"
#include "dataplane/match/headers.h"
#include "lib/counters.h"

#include <cstdint>
#include <optional>

namespace flowtap::dataplane::match {

/// Which tunnels are looked into.
struct InnerTunnels {
    bool gre = false;
    bool gtp_u = false;
    bool vxlan = false;

    bool any() const { return gre || gtp_u || vxlan; }
};

inline constexpr std::uint16_t gre_protocol = 47;
inline constexpr std::uint16_t gtp_u_port = 2152;
inline constexpr std::uint16_t vxlan_port = 4789;
inline constexpr std::size_t max_gtp_extensions = 4;
inline constexpr std::uint32_t max_gtp_extension_bytes = 256;  ///< of a packet, together

/// No byte from here on changes what is read: outer headers, the longest tunnel header, inner headers.
inline constexpr std::uint32_t inner_header_bound = 2 * header_bound + 12 + 8 + max_gtp_extension_bytes;

enum class InnerVerdict : std::uint8_t {
    none,            ///< not a tunnel of those that are looked into
    parsed,          ///< Inner::headers say what is there
    later_fragment,  ///< of a tunnel: what it carries stands in the first one
    not_ip,          ///< no IPv4 or IPv6 in it: signalling, keep-alives, other protocols
    truncated,       ///< ends inside of a header, or before the inner packet does
    malformed,       ///< an impossible header of the tunnel or of the inner packet
    depth,           ///< more headers than the caps allow
};

/// The worker's counter of the verdict; none for `none` and `parsed`.
constexpr std::optional<lib::WorkerCounter> counter_of(InnerVerdict verdict) {
    using enum lib::WorkerCounter;
    switch (verdict) {
        case InnerVerdict::none:
        case InnerVerdict::parsed:
            return std::nullopt;
        case InnerVerdict::later_fragment:
            return inner_later_fragments;
        case InnerVerdict::not_ip:
            return inner_not_ip;
        case InnerVerdict::truncated:
            return inner_truncated;
        case InnerVerdict::malformed:
            return inner_malformed;
        case InnerVerdict::depth:
            return inner_depth;
    }
    return std::nullopt;
}

/// May the packet be a tunnel's? By its outer headers alone: a later fragment of UDP only if its ports are
/// known (fragment_tracker.h).
constexpr bool may_be_tunnel(const InnerTunnels& tunnels, const Headers& outer) {
    constexpr std::uint16_t protocol_udp = 17;
    if (outer.protocol == protocol_udp) {
        return (tunnels.gtp_u && outer.dest_port == gtp_u_port) ||
               (tunnels.vxlan && outer.dest_port == vxlan_port);
    }
    return tunnels.gre && outer.protocol == gre_protocol;
}

struct Inner {
    InnerVerdict verdict = InnerVerdict::none;
    /// Where parsed: of the inner packet, but for the VLAN fields, which are of the wire's tags, and the
    /// offsets, which mean nothing.
    Headers headers;
};

/// `outer`: what was parsed of the frame; matchable.
Inner parse_inner(const InnerTunnels& tunnels, const Frame& frame, const Headers& outer) noexcept;

}  // namespace flowtap::dataplane::match
