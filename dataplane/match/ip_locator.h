// Where the IP packet begins that a frame carries in other headers than Ethernet and VLAN tags: MPLS (RFC
// 3032), Ethernet pseudowires (RFC 4448), PPPoE sessions (RFC 2516).
//
// Behind the bottom of an MPLS stack nothing says what comes. The labels' routers know; the parser guesses:
//
// | bottom label, first nibble | taken as |
// |---|---|
// | explicit null, 0 or 2 | IPv4 or IPv6 (RFC 3032 section 2.1) |
// | 4 or 6 | a sound IP packet is one; else an Ethernet frame if a plausible IP packet is in it; else IP |
// | 1, and the byte after it 0 | an associated channel (RFC 4385 section 5, RFC 5586): not IP |
// | 0 | an Ethernet frame, behind a control word or without one |
// | any other | an Ethernet frame |
//
// A nibble 4, 6, 0 or 1 may as well be the begin of a MAC address of a pseudowire without control word, and
// which is right cannot be known for certain. Sound IPv4 has a right checksum, sound IPv6 ends where the
// frame ends: one MAC address in 65,536 or fewer looks so by accident. Behind a nibble 0 the control word
// comes first if the two bytes are 0, as RFC 4448 section 4.6 has them sent, else the bare frame; the other
// of the two is taken where only in it there is a plausible IP packet. What is left to be misread: MAC
// addresses 10-00-xx of pseudowires without control word (not IP), damaged packets, and what pseudowires of
// other kinds than Ethernet carry, where it looks like an IP packet in a frame.
//
// A pseudowire's frame may have VLAN tags (up to max_vlan_tags of its own) and a PPPoE session, but no labels
// again.
//
// Thread safety: pure functions. Nothing is read beyond Frame::readable.
#pragma once

#include "dataplane/match/frame_parser.h"
#include "dataplane/match/headers.h"
#include "lib/address.h"

#include <cstdint>

namespace flowtap::dataplane::match {

struct IpPlace {
    Verdict verdict = Verdict::ok;  ///< else there is none, and why
    lib::Family family = lib::Family::ipv4;
    std::uint32_t offset = 0;  ///< from the frame's first byte to the IP header; not yet checked to be there
    std::uint32_t end = 0;     ///< likewise, to where what carries it ends; at most Frame::length
};

/// `type`: the ethertype of what begins at `at`; any other than MPLS and PPPoE session is not_ip.
IpPlace locate_ip(const Frame& frame, std::uint16_t type, std::uint32_t at);

}  // namespace flowtap::dataplane::match
