#include "dataplane/match/frame_parser.h"

#include "dataplane/match/byte_order.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace flowtap::dataplane::match {
namespace {

constexpr std::uint16_t type_ipv4 = 0x0800;
constexpr std::uint16_t type_ipv6 = 0x86dd;
constexpr std::uint16_t type_vlan = 0x8100;          // IEEE 802.1Q customer tag
constexpr std::uint16_t type_service_vlan = 0x88a8;  // IEEE 802.1ad service tag

constexpr std::uint32_t ethernet_size = 14;
constexpr std::uint32_t vlan_size = 4;
constexpr std::uint32_t ipv4_size = 20;  // without options
constexpr std::uint32_t ipv6_size = 40;

// What follows the header chain, by protocol number.
enum class Upper : std::uint8_t { other, ports, icmp };

constexpr auto upper_of = [] {
    std::array<Upper, 256> table{};
    for (const int protocol : {6, 17, 33, 132, 136}) {  // TCP, UDP, DCCP, SCTP, UDP-Lite
        table[static_cast<std::size_t>(protocol)] = Upper::ports;
    }
    table[1] = Upper::icmp;
    table[58] = Upper::icmp;
    return table;
}();

// IPv6 headers that are stepped over, by protocol number (RFC 8200 section 4, RFC 4302, RFC 5533). ESP hides
// what follows it; the mobility header and HIP carry nothing: these three are protocols of their own.
enum class Step : std::uint8_t { none, eight, authentication, fragment };

constexpr auto step_of = [] {
    std::array<Step, 256> table{};
    for (const int protocol : {0, 43, 60, 140}) {  // hop-by-hop, routing, destination options, shim6
        table[static_cast<std::size_t>(protocol)] = Step::eight;
    }
    table[44] = Step::fragment;
    table[51] = Step::authentication;
    return table;
}();

// The part of a frame that may be read, and where in it the packet lies.
struct Packet {
    const std::uint8_t* data;
    std::uint32_t l3;   // offset of the IP header
    std::uint32_t end;  // offset behind the last byte that is both the packet's and readable
};

// Fills in what lies at l4_offset. `fragment_flags` are part of the result.
inline Verdict parse_upper(const Packet& packet, std::uint32_t l4, std::uint8_t protocol,
                           std::uint8_t fragment_flags, Headers& headers) {
    headers.l4_offset = static_cast<std::uint16_t>(l4);
    headers.protocol = protocol;
    headers.flags = fragment_flags;
    const Upper upper = upper_of[protocol];
    if (upper == Upper::other) {
        return Verdict::ok;
    }
    if ((fragment_flags & flag::later_fragment) != 0) {
        return Verdict::no_ports;
    }
    if (upper == Upper::ports) {
        if (l4 + 4 > packet.end) {
            return Verdict::no_ports;
        }
        const std::uint32_t ports = load_be32(packet.data + l4);
        headers.source_port = static_cast<std::uint16_t>(ports >> 16);
        headers.dest_port = static_cast<std::uint16_t>(ports);
        headers.flags |= flag::ports;
        return Verdict::ok;
    }
    if (l4 + 2 > packet.end) {
        return Verdict::no_ports;
    }
    headers.icmp_type = packet.data[l4];
    headers.icmp_code = packet.data[l4 + 1];
    headers.flags |= flag::icmp;
    return Verdict::ok;
}

inline Verdict parse_ipv4(const Frame& frame, std::uint32_t l3, Headers& headers) {
    if (frame.readable < l3 + ipv4_size) {
        return Verdict::truncated;
    }
    const std::uint8_t* const ip = frame.data + l3;
    const std::uint32_t header = (ip[0] & 0x0fU) * 4;
    const std::uint32_t total = load_be16(ip + 2);
    if ((ip[0] >> 4) != 4 || header < ipv4_size || total < header) {
        return Verdict::bad_ipv4;
    }
    if (total > frame.length - l3 || header > frame.readable - l3) {
        return Verdict::truncated;
    }
    headers.family = lib::Family::ipv4;
    std::memcpy(headers.source.data(), ip + 12, 4);
    std::memcpy(headers.dest.data(), ip + 16, 4);
    headers.l3_length = total;
    const std::uint32_t fragment = load_be16(ip + 6);
    std::uint8_t flags = 0;
    if ((fragment & 0x3fff) != 0) [[unlikely]] {
        flags = (fragment & 0x1fff) != 0 ? flag::later_fragment : flag::first_fragment;
    }
    const Packet packet{.data = frame.data, .l3 = l3, .end = std::min(l3 + total, frame.readable)};
    return parse_upper(packet, l3 + header, ip[9], flags, headers);
}

// Addresses are known, what follows them is not.
inline Verdict unknown_upper(std::uint8_t fragment_flags, Headers& headers) {
    headers.protocol = unknown_protocol;
    headers.flags = fragment_flags;
    return Verdict::extension_headers;
}

Verdict parse_extensions(const Packet& packet, std::uint8_t next, Headers& headers) {
    const std::uint32_t first = packet.l3 + ipv6_size;
    std::uint32_t at = first;
    std::uint8_t fragment_flags = 0;
    for (std::size_t count = 0; step_of[next] != Step::none; ++count) {
        if (count == max_extension_headers || at + 8 > packet.end) {
            return unknown_upper(fragment_flags, headers);
        }
        const std::uint8_t* const header = packet.data + at;
        const Step step = step_of[next];
        next = header[0];
        std::uint32_t size = 8;
        if (step == Step::fragment) {
            const std::uint32_t fragment = load_be16(header + 2);
            if ((fragment & 0xfff8) != 0) {
                // The bytes that follow are from the middle of the datagram. Where it began with another
                // extension header, its protocol stands in the first fragment only.
                fragment_flags = flag::later_fragment;
                if (step_of[next] != Step::none) {
                    return unknown_upper(fragment_flags, headers);
                }
            } else if ((fragment & 1) != 0) {
                fragment_flags = flag::first_fragment;
            }
        } else if (step == Step::authentication) {
            size = (header[1] + 2U) * 4;  // RFC 4302 section 2.2
        } else {
            size = (header[1] + 1U) * 8;
        }
        at += size;
        if (at - first > max_extension_bytes || at > packet.end) {
            return unknown_upper(fragment_flags, headers);
        }
    }
    return parse_upper(packet, at, next, fragment_flags, headers);
}

inline Verdict parse_ipv6(const Frame& frame, std::uint32_t l3, Headers& headers) {
    if (frame.readable < l3 + ipv6_size) {
        return Verdict::truncated;
    }
    const std::uint8_t* const ip = frame.data + l3;
    if ((ip[0] >> 4) != 6) {
        return Verdict::bad_ipv6;
    }
    const std::uint32_t total = ipv6_size + load_be16(ip + 4);
    if (total > frame.length - l3) {
        return Verdict::truncated;
    }
    headers.family = lib::Family::ipv6;
    std::memcpy(headers.source.data(), ip + 8, 16);
    std::memcpy(headers.dest.data(), ip + 24, 16);
    headers.l3_length = total;
    const Packet packet{.data = frame.data, .l3 = l3, .end = std::min(l3 + total, frame.readable)};
    const std::uint8_t next = ip[6];
    if (step_of[next] == Step::none) [[likely]] {
        return parse_upper(packet, l3 + ipv6_size, next, 0, headers);
    }
    return parse_extensions(packet, next, headers);
}

inline Verdict parse_type(const Frame& frame, std::uint16_t type, std::uint32_t l3, Headers& headers) {
    headers.l3_offset = static_cast<std::uint16_t>(l3);
    if (type == type_ipv4) [[likely]] {
        return parse_ipv4(frame, l3, headers);
    }
    if (type == type_ipv6) {
        return parse_ipv6(frame, l3, headers);
    }
    return Verdict::not_ip;
}

constexpr bool is_vlan(std::uint16_t type) {
    return type == type_vlan || type == type_service_vlan;
}

Verdict parse_tagged(const Frame& frame, std::uint16_t type, Headers& headers) {
    std::uint32_t at = ethernet_size;
    std::uint8_t tags = 0;
    do {
        if (tags == max_vlan_tags) {
            headers.vlan_tags = tags;
            return Verdict::vlan_depth;
        }
        if (frame.readable < at + vlan_size) {
            headers.vlan_tags = tags;
            return Verdict::truncated;
        }
        headers.inner_vlan = load_be16(frame.data + at);
        if (tags == 0) {
            headers.outer_vlan = headers.inner_vlan;
        }
        type = load_be16(frame.data + at + 2);
        at += vlan_size;
        ++tags;
    } while (is_vlan(type));
    headers.vlan_tags = tags;
    return parse_type(frame, type, at, headers);
}

inline void parse(const Frame& frame, Headers& headers) {
    headers = Headers{};
    if (frame.readable < ethernet_size) [[unlikely]] {
        headers.verdict = Verdict::truncated;
        return;
    }
    const std::uint16_t type = load_be16(frame.data + 12);
    headers.verdict =
        is_vlan(type) ? parse_tagged(frame, type, headers) : parse_type(frame, type, ethernet_size, headers);
}

}  // namespace

Headers parse_frame(const Frame& frame) noexcept {
    Headers headers;
    parse(frame, headers);
    return headers;
}

void parse_burst(std::span<const Frame> frames, HeaderBurst& burst) noexcept {
    const std::size_t count = std::min(frames.size(), max_burst);
    std::uint64_t ipv4 = 0;
    std::uint64_t ipv6 = 0;
    std::uint64_t uneven = 0;
    for (std::size_t i = 0; i < count; ++i) {
        Headers& headers = burst.headers[i];
        parse(frames[i], headers);
        burst.source4[i] = load_be32(headers.source.data());
        burst.dest4[i] = load_be32(headers.dest.data());
        const bool match = matchable(headers.verdict);
        const bool is_ipv4 = headers.family == lib::Family::ipv4;
        ipv4 |= std::uint64_t{match && is_ipv4} << i;
        ipv6 |= std::uint64_t{match && !is_ipv4} << i;
        uneven |= std::uint64_t{headers.verdict != Verdict::ok} << i;
    }
    burst.count = static_cast<std::uint32_t>(count);
    burst.ipv4 = ipv4;
    burst.ipv6 = ipv6;
    burst.uneven = uneven;
}

}  // namespace flowtap::dataplane::match
