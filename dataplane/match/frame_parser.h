// From frames to headers: Ethernet, VLAN tags (IEEE 802.1Q, 802.1ad), MPLS, Ethernet pseudowires and PPPoE
// sessions (ip_locator.h), IPv4 (RFC 791) with options, IPv6 (RFC 8200) with extension headers, ports of TCP,
// UDP, SCTP, UDP-Lite and DCCP, type and code of ICMP and ICMPv6.
//
// Nothing is read beyond Frame::readable, every loop has a cap, and every byte that decides is checked
// against the packet's own length first: a header that lies in the Ethernet padding is not there. Fragments:
// the first one has ports, later ones never do. Payloads of tunnels over IP are not looked into
// (inner_parser.h).
//
// Thread safety: pure functions.
#pragma once

#include "dataplane/match/common_frames.h"
#include "dataplane/match/frame.h"
#include "dataplane/match/headers.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace flowtap::dataplane::match {

inline constexpr std::size_t max_vlan_tags = 4;
inline constexpr std::size_t max_extension_headers = 8;
inline constexpr std::size_t max_extension_bytes = 512;  ///< all extension headers of a packet together
inline constexpr std::size_t max_labels = 16;            ///< of an MPLS stack

/// No byte from here on changes what is read: the caps together.
inline constexpr std::uint32_t header_bound = 696;

/// Parses up to max_burst frames (more are left out: count says how many were taken). What is postponed
/// (LazyHeaders) reads the frames' bytes later. `common` changes nothing but the speed.
void parse_burst(std::span<const Frame> frames, HeaderBurst& burst,
                 CommonFunction common = common_function(best_simd())) noexcept;

/// Parses one frame of the burst anew, of which more is readable now; its other frames stay as they are.
void parse_again(const Frame& frame, std::size_t place, HeaderBurst& burst) noexcept;

/// What parse_burst reads in one frame.
Headers parse_frame(const Frame& frame) noexcept;

/// The same of an IP packet that begins where `packet` does.
Headers parse_packet(const Frame& packet, lib::Family family) noexcept;

}  // namespace flowtap::dataplane::match
