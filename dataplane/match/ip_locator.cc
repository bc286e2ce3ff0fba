#include "dataplane/match/ip_locator.h"

#include "dataplane/match/byte_order.h"
#include "dataplane/match/ethertypes.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace flowtap::dataplane::match {
namespace {

constexpr std::uint32_t label_size = 4;
constexpr std::uint32_t control_word_size = 4;
constexpr std::uint32_t pppoe_size = 6;
constexpr std::uint32_t ipv4_size = 20;  // without options
constexpr std::uint32_t ipv6_size = 40;

constexpr std::uint32_t bottom_of_stack = 0x100;
constexpr std::uint32_t ipv4_explicit_null = 0;
constexpr std::uint32_t ipv6_explicit_null = 2;

constexpr std::uint16_t ppp_ipv4 = 0x0021;  // RFC 1332
constexpr std::uint16_t ppp_ipv6 = 0x0057;  // RFC 5072

// What the caps allow before the IP header, and what parsing it may look at: 8 bytes more than the extension
// headers, for the next of them or the ports.
constexpr std::uint32_t most_before_ip = ethernet_size + max_vlan_tags * vlan_size + max_labels * label_size +
                                         control_word_size + ethernet_size + max_vlan_tags * vlan_size +
                                         pppoe_size + 2;
static_assert(header_bound == most_before_ip + ipv6_size + max_extension_bytes + 8);

IpPlace none(Verdict verdict) {
    return {.verdict = verdict};
}

// RFC 2516 section 4, RFC 1661 section 2; a protocol of one byte: RFC 1661 section 6.5.
IpPlace in_pppoe(const Frame& frame, std::uint32_t at) {
    if (frame.readable < at + pppoe_size) {
        return none(Verdict::truncated);
    }
    const std::uint8_t* const header = frame.data + at;
    const std::uint32_t size = load_be16(header + 4);
    const std::uint32_t ppp = at + pppoe_size;
    if (header[0] != 0x11 || header[1] != 0 || size == 0) {
        return none(Verdict::bad_pppoe);
    }
    if (size > frame.length - ppp || frame.readable < ppp + 1) {
        return none(Verdict::truncated);
    }
    const bool compressed = (frame.data[ppp] & 1) != 0;
    const std::uint32_t offset = ppp + (compressed ? 1 : 2);
    if (offset > ppp + size) {
        return none(Verdict::bad_pppoe);
    }
    if (frame.readable < offset) {
        return none(Verdict::truncated);
    }
    const std::uint16_t protocol = compressed ? frame.data[ppp] : load_be16(frame.data + ppp);
    if (protocol != ppp_ipv4 && protocol != ppp_ipv6) {
        return none(Verdict::not_ip);
    }
    return {.family = protocol == ppp_ipv4 ? lib::Family::ipv4 : lib::Family::ipv6,
            .offset = offset,
            .end = ppp + size};
}

// A pseudowire's frame.
IpPlace in_ethernet(const Frame& frame, std::uint32_t at) {
    if (frame.readable < at + ethernet_size) {
        return none(Verdict::truncated);
    }
    std::uint16_t type = load_be16(frame.data + at + 12);
    at += ethernet_size;
    for (std::size_t tags = 0; is_vlan(type); ++tags, at += vlan_size) {
        if (tags == max_vlan_tags) {
            return none(Verdict::vlan_depth);
        }
        if (frame.readable < at + vlan_size) {
            return none(Verdict::truncated);
        }
        type = load_be16(frame.data + at + 2);
    }
    switch (type) {
        case type_ipv4:
            return {.family = lib::Family::ipv4, .offset = at, .end = frame.length};
        case type_ipv6:
            return {.family = lib::Family::ipv6, .offset = at, .end = frame.length};
        case type_pppoe_session:
            return in_pppoe(frame, at);
        default:
            return none(Verdict::not_ip);
    }
}

std::uint32_t ipv4_header_length(const std::uint8_t* ip) {
    return (ip[0] & 0x0fU) * 4;
}

// Whether an IP header is there that fits what carries it.
bool plausible(const Frame& frame, const IpPlace& place) {
    if (place.verdict != Verdict::ok) {
        return false;
    }
    const std::uint32_t room = std::min(frame.readable, place.end) - place.offset;
    const std::uint8_t* const ip = frame.data + place.offset;
    if (place.family == lib::Family::ipv6) {
        return room >= ipv6_size && ip[0] >> 4 == 6 &&
               ipv6_size + load_be16(ip + 4) <= place.end - place.offset;
    }
    if (room < ipv4_size || ip[0] >> 4 != 4) {
        return false;
    }
    const std::uint32_t header = ipv4_header_length(ip);
    const std::uint32_t total = load_be16(ip + 2);
    return header >= ipv4_size && header <= room && total >= header && total <= place.end - place.offset;
}

// RFC 1071: with its checksum a header sums up to ones.
bool checksum_right(const std::uint8_t* ip) {
    std::uint32_t sum = 0;
    for (std::uint32_t i = 0; i < ipv4_header_length(ip); i += 2) {
        sum += load_be16(ip + i);
    }
    return sum % 0xffff == 0;
}

// Plausible, and such that a MAC address would hardly look so.
bool sound(const Frame& frame, const IpPlace& place) {
    if (!plausible(frame, place)) {
        return false;
    }
    const std::uint8_t* const ip = frame.data + place.offset;
    return place.family == lib::Family::ipv4 ? checksum_right(ip)
                                             : place.offset + ipv6_size + load_be16(ip + 4) == place.end;
}

IpPlace ip_or_ethernet(const Frame& frame, lib::Family family, std::uint32_t at) {
    const IpPlace ip{.family = family, .offset = at, .end = frame.length};
    if (sound(frame, ip)) {
        return ip;
    }
    const IpPlace inner = in_ethernet(frame, at);
    return plausible(frame, inner) ? inner : ip;
}

IpPlace control_word_or_ethernet(const Frame& frame, std::uint32_t at) {
    IpPlace likely = in_ethernet(frame, at + control_word_size);
    IpPlace other = in_ethernet(frame, at);
    if (load_be16(frame.data + at) != 0) {
        std::swap(likely, other);
    }
    return !plausible(frame, likely) && plausible(frame, other) ? other : likely;
}

IpPlace behind_labels(const Frame& frame, std::uint32_t label, std::uint32_t at) {
    if (label == ipv4_explicit_null || label == ipv6_explicit_null) {
        return {.family = label == ipv4_explicit_null ? lib::Family::ipv4 : lib::Family::ipv6,
                .offset = at,
                .end = frame.length};
    }
    // What is guessed must not depend on where the first buffer ends.
    if (frame.readable < std::min(frame.length, header_bound) || frame.readable < at + 2) {
        return none(Verdict::truncated);
    }
    switch (frame.data[at] >> 4) {
        case 4:
            return ip_or_ethernet(frame, lib::Family::ipv4, at);
        case 6:
            return ip_or_ethernet(frame, lib::Family::ipv6, at);
        case 0:
            return control_word_or_ethernet(frame, at);
        case 1:
            if (load_be16(frame.data + at) == 0x1000) {
                return none(Verdict::not_ip);
            }
            [[fallthrough]];
        default:
            return in_ethernet(frame, at);
    }
}

IpPlace in_mpls(const Frame& frame, std::uint32_t at) {
    for (std::size_t labels = 0; labels < max_labels; ++labels, at += label_size) {
        if (frame.readable < at + label_size) {
            return none(Verdict::truncated);
        }
        const std::uint32_t entry = load_be32(frame.data + at);
        if ((entry & bottom_of_stack) != 0) {
            return behind_labels(frame, entry >> 12, at + label_size);
        }
    }
    return none(Verdict::mpls_depth);
}

}  // namespace

IpPlace locate_ip(const Frame& frame, std::uint16_t type, std::uint32_t at) {
    switch (type) {
        case type_mpls:
        case type_mpls_upstream:
            return in_mpls(frame, at);
        case type_pppoe_session:
            return in_pppoe(frame, at);
        default:
            return none(Verdict::not_ip);
    }
}

}  // namespace flowtap::dataplane::match
