// What the parser yields for one frame and for a burst: everything a tap can name, as plain numbers.
//
// A burst is kept twice: the addresses of IPv4 frames side by side, so that the prefilter loads sixteen
// frames with one instruction, and one cache line a frame with the rest, which only the frames that the
// prefilter lets pass are asked for, and which is not written before (LazyHeaders). Bit i of every mask
// speaks of frame i.
//
// Thread safety: plain data, owned by one worker.
#pragma once

#include "dataplane/match/frame.h"
#include "lib/address.h"
#include "lib/counters.h"

#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace flowtap::dataplane::match {

/// Most frames in one burst: one bit of a mask each.
inline constexpr std::size_t max_burst = 64;

/// How far the parser came. Up to `extension_headers` the frame is matched on what is known of it; from
/// `truncated` on it is forwarded without a look at the taps.
enum class Verdict : std::uint8_t {
    ok,
    no_ports,           ///< ports or ICMP fields are not in the frame: later fragments, short payloads
    extension_headers,  ///< IPv6 headers beyond the caps or the packet's end: only the addresses are known
    truncated,          ///< the frame ends before the packet does, or inside a header
    vlan_depth,         ///< more than max_vlan_tags
    mpls_depth,         ///< more than max_labels
    not_ip,
    bad_pppoe,  ///< version, type or code of no session, or too short for a protocol
    bad_ipv4,   ///< version, header length or total length impossible
    bad_ipv6,   ///< version impossible
};

constexpr bool matchable(Verdict verdict) {
    return verdict <= Verdict::extension_headers;
}

/// The worker's counter of the verdict; none for `ok`.
constexpr std::optional<lib::WorkerCounter> counter_of(Verdict verdict) {
    using enum lib::WorkerCounter;
    switch (verdict) {
        case Verdict::ok:
            return std::nullopt;
        case Verdict::no_ports:
            return parse_no_ports;
        case Verdict::extension_headers:
            return parse_extension_headers;
        case Verdict::truncated:
            return parse_truncated;
        case Verdict::vlan_depth:
            return parse_vlan_depth;
        case Verdict::mpls_depth:
            return parse_mpls_depth;
        case Verdict::not_ip:
            return parse_not_ip;
        case Verdict::bad_pppoe:
            return parse_bad_pppoe;
        case Verdict::bad_ipv4:
            return parse_bad_ipv4;
        case Verdict::bad_ipv6:
            return parse_bad_ipv6;
    }
    return std::nullopt;
}

/// Headers::protocol where it is not known; no criterion names it.
inline constexpr std::uint16_t unknown_protocol = 0x100;

/// Bits of Headers::flags.
namespace flag {
inline constexpr std::uint8_t ports = 1;           ///< source_port and dest_port are set
inline constexpr std::uint8_t icmp = 2;            ///< icmp_type and icmp_code are set
inline constexpr std::uint8_t first_fragment = 4;  ///< offset 0, more to come
inline constexpr std::uint8_t later_fragment = 8;  ///< offset not 0: never has ports or ICMP fields
}  // namespace flag

/// What the header of a protocol has of flag::ports and flag::icmp, in a frame that holds it.
constexpr std::uint8_t parts_of(std::uint16_t protocol) {
    switch (protocol) {
        case 6:    // TCP
        case 17:   // UDP
        case 33:   // DCCP
        case 132:  // SCTP
        case 136:  // UDP-Lite
            return flag::ports;
        case 1:   // ICMP
        case 58:  // ICMPv6
            return flag::icmp;
        default:
            return 0;
    }
}

/// One frame. Addresses and the fields from l3_length on mean something only where matchable(verdict). Of the
/// frame's MPLS labels, pseudowire and PPPoE session nothing is kept but what they add to l3_offset: taps
/// name none of them. The VLAN fields are of the wire's own tags; those of a pseudowire's frame are its
/// customer's.
struct alignas(64) Headers {
    std::array<std::uint8_t, 16> source;  ///< network byte order, left-aligned, IPv4 padded with zeros
    std::array<std::uint8_t, 16> dest;    ///< likewise
    std::uint32_t
        l3_length;  ///< bytes of the IP packet by its own length field: Ethernet padding is not in it
    std::uint16_t l3_offset;    ///< from the frame's first byte to the IP header
    std::uint16_t l4_offset;    ///< from the frame's first byte to what follows the IP and extension headers;
                                ///< may be where the packet ends; 0 where the protocol is not known
    std::uint16_t source_port;  ///< host byte order; 0 without flag::ports
    std::uint16_t dest_port;    ///< likewise
    std::uint16_t protocol;     ///< the header at l4_offset (IANA protocol number), or unknown_protocol
    std::uint8_t icmp_type;     ///< 0 without flag::icmp
    std::uint8_t icmp_code;     ///< likewise
    Verdict verdict;
    lib::Family family;
    std::uint8_t flags;
    std::uint8_t vlan_tags;    ///< 0..max_vlan_tags, the wire's
    std::uint16_t outer_vlan;  ///< TCI of the first tag, host byte order, if it is in the frame; else 0
    std::uint16_t inner_vlan;  ///< TCI of the wire's last tag, host byte order; 0 without one
    // Of fragments only (flag::first_fragment, flag::later_fragment), else of any value:
    std::uint32_t fragment_id;      ///< IPv4 identification (16 bits) or IPv6 identification, host byte order
    std::uint16_t fragment_offset;  ///< bytes from the start of the fragmentable part
};
static_assert(sizeof(Headers) == 64 && offsetof(Headers, source) == 0 && offsetof(Headers, dest) == 16);

/// Calls function(i) for each bit i of the mask that is set, from the lowest.
template <typename Function>
inline void for_each_bit(std::uint64_t mask, Function function) {
    for (; mask != 0; mask &= mask - 1) {
        function(static_cast<std::size_t>(std::countr_zero(mask)));
    }
}

/// Where in a frame its IP packet lies, by the packet's own length field.
struct PacketPlace {
    std::uint32_t offset = 0;  ///< bytes
    std::uint32_t length = 0;  ///< bytes; 0: the frame is not matchable
};

/// The headers of a burst's frames. Those of a pending frame are written when they are asked for: almost no
/// frame's are. So what is here cannot be seen unwritten; but a pending frame's bytes must stay where they
/// are until close(), and of a frame that is kept beyond it for as long as that may be asked for.
class LazyHeaders {
  public:
    const Headers& operator[](std::size_t frame) const {
        if ((pending_ >> frame & 1) != 0) {
            complete(frame);
        }
        return headers_[frame];
    }
    Headers& operator[](std::size_t frame) { return const_cast<Headers&>(std::as_const(*this)[frame]); }
    /// The same of its headers as l3_offset and l3_length, for less: of nearly all frames from their bytes.
    PacketPlace packet(std::size_t frame) const {
        assert((open_ >> frame & 1) != 0 || (pending_ >> frame & 1) == 0);
        if (((pending_ & common_) >> frame & 1) != 0) [[likely]] {
            return common_packet(frames_[frame].data);
        }
        const Headers& headers = (*this)[frame];
        return matchable(headers.verdict) ? PacketPlace{headers.l3_offset, headers.l3_length} : PacketPlace{};
    }

    /// Where the parser leaves the frames that it may postpone.
    Frame* frames() { return frames_.data(); }
    /// These of frames() are all that is pending now; all are common ones (common_frames.h).
    void postpone(std::uint64_t frames) {
        pending_ = frames;
        common_ = frames;
        open_ = ~std::uint64_t{0};
    }
    /// And these, of which parse_frame says that their verdict is `ok`.
    void postpone_too(std::uint64_t frames) { pending_ |= frames; }
    /// Not to be completed any more, but overwritten.
    Headers& overwrite(std::size_t frame) {
        pending_ &= ~(std::uint64_t{1} << frame);
        return headers_[frame];
    }
    std::uint64_t pending() const { return pending_; }
    /// The frame's first readable bytes are there from now on.
    void move(std::size_t frame, const std::uint8_t* data) { frames_[frame].data = data; }
    /// The bytes of all frames but those of `kept` may go: nobody asks for them any more.
    void close(std::uint64_t kept) { open_ = kept; }

  private:
    void complete(std::size_t frame) const noexcept;
    /// Untagged, the IP header behind 14 bytes of Ethernet, its length in the third and fourth byte.
    static PacketPlace common_packet(const std::uint8_t* data) {
        return {.offset = 14, .length = std::uint32_t{data[16]} << 8 | data[17]};
    }

    mutable std::uint64_t pending_ = 0;
    std::uint64_t common_ = 0;  ///< of these, or of those that were
    std::uint64_t open_ = 0;    ///< may be asked for
    mutable std::array<Headers, max_burst> headers_;
    alignas(64) std::array<Frame, max_burst> frames_;
};

struct HeaderBurst {
    std::uint32_t count = 0;  ///< frames
    std::uint16_t port =
        0;  ///< where they came in, an index in the configuration's ports; the caller's to set
    std::uint64_t frames = 0;  ///< frames that taps of whole frames may match: parse_burst sets it to all
    std::uint64_t ipv4 = 0;    ///< frames to be matched, by family; parse_burst sets them, and a caller may
    std::uint64_t ipv6 = 0;    ///< clear the bits of frames that must not be matched (see exclude)
    std::uint64_t uneven = 0;  ///< frames whose verdict is not ok: the ones to be counted
    std::uint64_t fragments = 0;  ///< frames with flag::first_fragment or flag::later_fragment
    /// Addresses of IPv4 frames as numbers in host byte order; for other frames any value.
    alignas(64) std::array<std::uint32_t, max_burst> source4;
    alignas(64) std::array<std::uint32_t, max_burst> dest4;
    /// Of IPv6 frames: 16 bytes of source, then 16 of destination, in the frame or in its headers; for other
    /// frames any value.
    std::array<const std::uint8_t*, max_burst> addresses6;
    LazyHeaders headers;
};

/// What a lib::InterfaceTerm is compared with: the port, and the VLAN id of the outermost tag, 0 without one
/// (a priority tag has the id 0, IEEE 802.1Q section 9.6).
constexpr std::uint32_t interface_of(std::uint16_t port, const Headers& headers) {
    return std::uint32_t{port} << 16 | (headers.outer_vlan & 0xfffU);
}

/// Takes a frame out of what classify looks at; for frames of the box's own tunnels.
inline void exclude(HeaderBurst& burst, std::size_t frame) {
    burst.frames &= ~(std::uint64_t{1} << frame);
    burst.ipv4 &= ~(std::uint64_t{1} << frame);
    burst.ipv6 &= ~(std::uint64_t{1} << frame);
}

}  // namespace flowtap::dataplane::match
