#include "dataplane/match/frame_parser.h"

#include "dataplane/match/byte_order.h"
#include "dataplane/match/ethertypes.h"
#include "dataplane/match/ip_locator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstring>

namespace flowtap::dataplane::match {
namespace {

constexpr std::uint32_t ipv4_size = 20;  // without options
constexpr std::uint32_t ipv6_size = 40;

// What follows the header chain, by protocol number.
enum class Upper : std::uint8_t { other, ports, icmp };

constexpr auto upper_of = [] {
    std::array<Upper, 256> table{};
    for (std::size_t protocol = 0; protocol < table.size(); ++protocol) {
        const std::uint8_t parts = parts_of(static_cast<std::uint16_t>(protocol));
        table[protocol] = parts == 0 ? Upper::other : parts == flag::ports ? Upper::ports : Upper::icmp;
    }
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

// Headers is written in three words and two addresses: the number of stores is what parsing costs.
constexpr std::uint64_t place_word(std::uint32_t l3_length, std::uint32_t l3_offset,
                                   std::uint32_t l4_offset) {
    return l3_length | std::uint64_t{l3_offset & 0xffff} << 32 | std::uint64_t{l4_offset} << 48;
}
static_assert(offsetof(Headers, l3_length) == 32 && offsetof(Headers, l3_offset) == 36 &&
              offsetof(Headers, l4_offset) == 38);

/// `ports` as they stand in the packet, first one in the upper half.
constexpr std::uint64_t upper_word(std::uint32_t ports, std::uint16_t protocol, std::uint8_t icmp_type,
                                   std::uint8_t icmp_code) {
    return std::rotl(ports, 16) | std::uint64_t{protocol} << 32 | std::uint64_t{icmp_type} << 48 |
           std::uint64_t{icmp_code} << 56;
}
static_assert(offsetof(Headers, source_port) == 40 && offsetof(Headers, dest_port) == 42 &&
              offsetof(Headers, protocol) == 44 && offsetof(Headers, icmp_type) == 46 &&
              offsetof(Headers, icmp_code) == 47);

constexpr std::uint64_t trait_word(Verdict verdict, lib::Family family, std::uint8_t flags) {
    return static_cast<std::uint64_t>(verdict) | static_cast<std::uint64_t>(family) << 8 |
           std::uint64_t{flags} << 16;
}
/// The VLAN part of the same word.
constexpr std::uint64_t vlan_word(std::uint8_t tags, std::uint16_t outer, std::uint16_t inner) {
    return std::uint64_t{tags} << 24 | std::uint64_t{outer} << 32 | std::uint64_t{inner} << 48;
}
static_assert(offsetof(Headers, verdict) == 48 && offsetof(Headers, family) == 49 &&
              offsetof(Headers, flags) == 50 && offsetof(Headers, vlan_tags) == 51 &&
              offsetof(Headers, outer_vlan) == 52 && offsetof(Headers, inner_vlan) == 54);

void store_words(Headers& headers, std::uint64_t place, std::uint64_t upper, std::uint64_t traits) {
    std::memcpy(&headers.l3_length, &place, sizeof place);
    std::memcpy(&headers.source_port, &upper, sizeof upper);
    std::memcpy(&headers.verdict, &traits, sizeof traits);
}

// An IPv4 address and zeros.
void store_address(std::array<std::uint8_t, 16>& to, const std::uint8_t* from) {
    std::uint32_t address = 0;
    std::memcpy(&address, from, sizeof address);
    const std::array<std::uint64_t, 2> words{address, 0};
    std::memcpy(to.data(), words.data(), sizeof words);
}

// A frame that is not matched.
Verdict refuse(Headers& headers, Verdict verdict, std::uint32_t l3, std::uint64_t vlans) {
    store_words(headers, place_word(0, l3, 0), 0, trait_word(verdict, lib::Family::ipv4, 0) | vlans);
    return verdict;
}

// What is known of a packet when its IP header has been read.
struct Packet {
    const std::uint8_t* data;  // the frame
    std::uint32_t l3;          // offset of the IP header
    std::uint32_t length;      // the IP packet's
    std::uint32_t end;         // offset behind the last byte that is both the packet's and readable
    lib::Family family;
    std::uint64_t vlans;
};

// Reads what lies at l4 and writes all but the addresses. `flags` are the fragment's.
inline Verdict finish(const Packet& packet, std::uint32_t l4, std::uint8_t protocol, std::uint8_t flags,
                      Headers& headers) {
    const Upper upper = upper_of[protocol];
    const std::uint8_t* const at = packet.data + l4;
    const bool later = (flags & flag::later_fragment) != 0;
    std::uint64_t word = upper_word(0, protocol, 0, 0);
    Verdict verdict = Verdict::ok;
    if (upper == Upper::ports) [[likely]] {
        if (!later && l4 + 4 <= packet.end) [[likely]] {
            word = upper_word(load_be32(at), protocol, 0, 0);
            flags |= flag::ports;
        } else {
            verdict = Verdict::no_ports;
        }
    } else if (upper == Upper::icmp) {
        if (!later && l4 + 2 <= packet.end) {
            word = upper_word(0, protocol, at[0], at[1]);
            flags |= flag::icmp;
        } else {
            verdict = Verdict::no_ports;
        }
    }
    store_words(headers, place_word(packet.length, packet.l3, l4), word,
                trait_word(verdict, packet.family, flags) | packet.vlans);
    return verdict;
}

inline Verdict parse_ipv4(const Frame& frame, std::uint32_t l3, std::uint64_t vlans, Headers& headers) {
    if (frame.readable < l3 + ipv4_size) [[unlikely]] {
        return refuse(headers, Verdict::truncated, l3, vlans);
    }
    const std::uint8_t* const ip = frame.data + l3;
    const std::uint32_t header = (ip[0] & 0x0fU) * 4;
    const std::uint32_t total = load_be16(ip + 2);
    if ((ip[0] >> 4) != 4 || header < ipv4_size || total < header) [[unlikely]] {
        return refuse(headers, Verdict::bad_ipv4, l3, vlans);
    }
    if (total > frame.length - l3 || header > frame.readable - l3) [[unlikely]] {
        return refuse(headers, Verdict::truncated, l3, vlans);
    }
    store_address(headers.source, ip + 12);
    store_address(headers.dest, ip + 16);

    const std::uint32_t fragment = load_be16(ip + 6);
    std::uint8_t flags = 0;
    if ((fragment & 0x3fff) != 0) [[unlikely]] {
        headers.fragment_id = load_be16(ip + 4);
        headers.fragment_offset = static_cast<std::uint16_t>((fragment & 0x1fff) * 8);
        flags = (fragment & 0x1fff) != 0 ? flag::later_fragment : flag::first_fragment;
    }
    const Packet packet{.data = frame.data,
                        .l3 = l3,
                        .length = total,
                        .end = std::min(l3 + total, frame.readable),
                        .family = lib::Family::ipv4,
                        .vlans = vlans};
    return finish(packet, l3 + header, ip[9], flags, headers);
}

// Addresses are known, what follows them is not.
Verdict unknown_upper(const Packet& packet, std::uint8_t flags, Headers& headers) {
    store_words(headers, place_word(packet.length, packet.l3, 0), upper_word(0, unknown_protocol, 0, 0),
                trait_word(Verdict::extension_headers, packet.family, flags) | packet.vlans);
    return Verdict::extension_headers;
}

Verdict parse_extensions(const Packet& packet, std::uint8_t next, Headers& headers) {
    const std::uint32_t first = packet.l3 + ipv6_size;
    const std::uint32_t limit = std::min<std::uint32_t>(packet.end, first + max_extension_bytes);
    std::uint32_t at = first;
    std::uint8_t flags = 0;
    for (std::size_t count = 0; step_of[next] != Step::none; ++count) {
        if (count == max_extension_headers || at + 8 > packet.end) {
            return unknown_upper(packet, flags, headers);
        }
        const std::uint8_t* const header = packet.data + at;
        const Step step = step_of[next];
        next = header[0];
        if (step == Step::eight) [[likely]] {
            at += (header[1] + 1U) * 8;  // beyond the limit: seen below, since there is no way back
            continue;
        }
        if (at > limit) {
            return unknown_upper(packet, flags, headers);
        }
        if (step == Step::authentication) {
            at += (header[1] + 2U) * 4;  // RFC 4302 section 2.2
            continue;
        }
        const std::uint32_t fragment = load_be16(header + 2);
        headers.fragment_id = load_be32(header + 4);
        headers.fragment_offset = static_cast<std::uint16_t>(fragment & 0xfff8);
        if ((fragment & 0xfff8) != 0) {
            // The bytes that follow are from the middle of the datagram. Where it began with another
            // extension header, its protocol stands in the first fragment only.
            flags = flag::later_fragment;
            if (step_of[next] != Step::none) {
                return unknown_upper(packet, flags, headers);
            }
        } else if ((fragment & 1) != 0) {
            flags = flag::first_fragment;
        }
        at += 8;
    }
    return at > limit ? unknown_upper(packet, flags, headers) : finish(packet, at, next, flags, headers);
}

inline Verdict parse_ipv6(const Frame& frame, std::uint32_t l3, std::uint64_t vlans, Headers& headers) {
    if (frame.readable < l3 + ipv6_size) [[unlikely]] {
        return refuse(headers, Verdict::truncated, l3, vlans);
    }
    const std::uint8_t* const ip = frame.data + l3;
    if ((ip[0] >> 4) != 6) [[unlikely]] {
        return refuse(headers, Verdict::bad_ipv6, l3, vlans);
    }
    const std::uint32_t total = ipv6_size + load_be16(ip + 4);
    if (total > frame.length - l3) [[unlikely]] {
        return refuse(headers, Verdict::truncated, l3, vlans);
    }
    std::memcpy(headers.source.data(), ip + 8, 16);
    std::memcpy(headers.dest.data(), ip + 24, 16);
    const Packet packet{.data = frame.data,
                        .l3 = l3,
                        .length = total,
                        .end = std::min(l3 + total, frame.readable),
                        .family = lib::Family::ipv6,
                        .vlans = vlans};
    const std::uint8_t next = ip[6];
    if (step_of[next] == Step::none) [[likely]] {
        return finish(packet, l3 + ipv6_size, next, 0, headers);
    }
    return parse_extensions(packet, next, headers);
}

// Everything but IP right behind Ethernet and its tags; out of line, since few links carry it.
[[gnu::noinline]] Verdict parse_located(const Frame& frame, std::uint16_t type, std::uint32_t at,
                                        std::uint64_t vlans, Headers& headers) {
    const IpPlace ip = locate_ip(frame, type, at);
    if (ip.verdict != Verdict::ok) {
        return refuse(headers, ip.verdict, at, vlans);
    }
    const Frame carried{.data = frame.data, .readable = std::min(frame.readable, ip.end), .length = ip.end};
    return ip.family == lib::Family::ipv4 ? parse_ipv4(carried, ip.offset, vlans, headers)
                                          : parse_ipv6(carried, ip.offset, vlans, headers);
}

inline Verdict parse_type(const Frame& frame, std::uint16_t type, std::uint32_t l3, std::uint64_t vlans,
                          Headers& headers) {
    if (type == type_ipv4) [[likely]] {
        return parse_ipv4(frame, l3, vlans, headers);
    }
    if (type == type_ipv6) {
        return parse_ipv6(frame, l3, vlans, headers);
    }
    return parse_located(frame, type, l3, vlans, headers);
}

Verdict parse_tagged(const Frame& frame, std::uint16_t type, Headers& headers) {
    std::uint32_t at = ethernet_size;
    std::uint16_t outer = 0;
    std::uint16_t inner = 0;
    std::uint8_t tags = 0;
    for (; is_vlan(type); at += vlan_size) {
        if (tags == max_vlan_tags || frame.readable < at + vlan_size) {
            if (tags == 0 && frame.readable >= at + 2) {
                outer = load_be16(frame.data + at);  // the tag is whole, what it is a tag of is not there
            }
            return refuse(headers, tags == max_vlan_tags ? Verdict::vlan_depth : Verdict::truncated, at,
                          vlan_word(tags, outer, inner));
        }
        inner = load_be16(frame.data + at);
        outer = tags == 0 ? inner : outer;
        type = load_be16(frame.data + at + 2);
        ++tags;
    }
    return parse_type(frame, type, at, vlan_word(tags, outer, inner), headers);
}

inline Verdict parse(const Frame& frame, Headers& headers) {
    if (frame.readable < ethernet_size) [[unlikely]] {
        return refuse(headers, Verdict::truncated, 0, 0);
    }
    const std::uint16_t type = load_be16(frame.data + 12);
    if (is_vlan(type)) {
        return parse_tagged(frame, type, headers);
    }
    return parse_type(frame, type, ethernet_size, 0, headers);
}

// What common_frames.h is about, and with ports: in half as many instructions. The result is parse's. False:
// it is another frame, nothing was decided.
inline bool parse_common(const Frame& frame, Headers& headers) {
    constexpr std::uint32_t l3 = ethernet_size;
    constexpr std::uint32_t l4 = l3 + ipv4_size;
    if (frame.readable < l4 + 4) {
        return false;
    }
    const std::uint8_t* const ip = frame.data + l3;
    const std::uint64_t begin =
        load_be64(ip - 2);  // ethertype, version, length, service, total length, identification
    const std::uint64_t middle = load_be32(ip + 6);  // fragment, lifetime, protocol
    const auto total = static_cast<std::uint32_t>(begin >> 16 & 0xffff);
    const auto protocol = static_cast<std::uint8_t>(middle);
    if (begin >> 40 != (type_ipv4 << 8 | 0x45) || (middle & 0x3fff'0000) != 0 ||
        upper_of[protocol] != Upper::ports || total < ipv4_size + 4 || total > frame.length - l3) {
        return false;
    }
    store_address(headers.source, ip + 12);
    store_address(headers.dest, ip + 16);
    store_words(headers, place_word(total, l3, l4), upper_word(load_be32(ip + 20), protocol, 0, 0),
                trait_word(Verdict::ok, lib::Family::ipv4, flag::ports));
    return true;
}

// Frame i of a burst, whose masks do not know it yet, has been parsed.
inline void note(Verdict verdict, std::size_t i, HeaderBurst& burst) {
    const Headers& headers = burst.headers[i];
    burst.source4[i] = load_be32(headers.source.data());
    burst.dest4[i] = load_be32(headers.dest.data());
    burst.addresses6[i] = headers.source.data();
    const bool match = matchable(verdict);
    const bool is_ipv4 = headers.family == lib::Family::ipv4;
    burst.ipv4 |= std::uint64_t{match && is_ipv4} << i;
    burst.ipv6 |= std::uint64_t{match && !is_ipv4} << i;
    burst.uneven |= std::uint64_t{verdict != Verdict::ok} << i;
    constexpr std::uint8_t fragment = flag::first_fragment | flag::later_fragment;
    burst.fragments |= std::uint64_t{(headers.flags & fragment) != 0} << i;
}

// An IP header behind Ethernet and its tags.
struct Inside {
    const std::uint8_t* ip;
    std::uint32_t readable;  // bytes from there
    std::uint32_t length;    // likewise, of the frame
};

// Whether parse says `ok`, and no fragment, in which case only the addresses are read.
inline bool postpone_ipv4(const Inside& inside, std::size_t i, HeaderBurst& burst) {
    const std::uint8_t* const ip = inside.ip;
    const std::uint32_t header = (ip[0] & 0x0fU) * 4;
    const std::uint32_t total = load_be16(ip + 2);
    if ((ip[0] >> 4) != 4 || header < ipv4_size || total < header + 4 || total > inside.length ||
        inside.readable < header + 4 || (load_be16(ip + 6) & 0x3fff) != 0) {
        return false;
    }
    burst.source4[i] = load_be32(ip + 12);
    burst.dest4[i] = load_be32(ip + 16);
    return true;
}

inline bool postpone_ipv6(const Inside& inside, std::size_t i, HeaderBurst& burst) {
    const std::uint8_t* const ip = inside.ip;
    if (inside.readable < ipv6_size + 4 || (ip[0] >> 4) != 6 || step_of[ip[6]] != Step::none) {
        return false;
    }
    const std::uint32_t payload = load_be16(ip + 4);
    if (payload < 4 || ipv6_size + payload > inside.length) {
        return false;
    }
    burst.addresses6[i] = ip + 8;
    return true;
}

// A frame of common_bytes at least, of which the type behind its tags is known.
[[gnu::noinline]] void parse_behind(const Frame& frame, std::uint16_t type, std::uint8_t tags, std::size_t i,
                                    HeaderBurst& burst) {
    Headers& headers = burst.headers.overwrite(i);
    if (is_vlan(type)) {
        return note(parse(frame, headers), i, burst);
    }
    const std::uint8_t* const first = frame.data + ethernet_size;
    const std::uint32_t l3 = ethernet_size + tags * vlan_size;
    const std::uint64_t vlans =
        tags == 0 ? 0 : vlan_word(tags, load_be16(first), load_be16(frame.data + l3 - vlan_size));
    note(parse_type(frame, type, l3, vlans, headers), i, burst);
}

// The frames that are not common, but mostly not strange either: VLAN tags, IPv4 options, IPv6.
void parse_others(std::span<const Frame> frames, std::uint64_t others, HeaderBurst& burst) {
    static_assert(ethernet_size + max_vlan_tags * vlan_size <= common_bytes);
    std::uint64_t ipv4 = 0;
    std::uint64_t ipv6 = 0;
    for_each_bit(others, [&](std::size_t i) {
        const Frame& frame = frames[i];
        if (frame.readable < common_bytes) [[unlikely]] {
            return note(parse(frame, burst.headers.overwrite(i)), i, burst);
        }
        const std::uint8_t* at = frame.data + ethernet_size;
        std::uint16_t type = load_be16(at - 2);
        std::uint8_t tags = 0;
        for (; is_vlan(type) && tags < max_vlan_tags; ++tags) {
            at += vlan_size;
            type = load_be16(at - 2);
        }
        const auto l3 = static_cast<std::uint32_t>(at - frame.data);
        const Inside inside{.ip = at, .readable = frame.readable - l3, .length = frame.length - l3};
        if (type == type_ipv4 && postpone_ipv4(inside, i, burst)) {
            ipv4 |= std::uint64_t{1} << i;
        } else if (type == type_ipv6 && postpone_ipv6(inside, i, burst)) {
            ipv6 |= std::uint64_t{1} << i;
        } else {
            parse_behind(frame, type, tags, i, burst);
        }
    });
    burst.ipv4 |= ipv4;
    burst.ipv6 |= ipv6;
    burst.headers.postpone_too(ipv4 | ipv6);
}

}  // namespace

void LazyHeaders::complete(std::size_t frame) const noexcept {
    assert((open_ >> frame & 1) != 0);
    pending_ &= ~(std::uint64_t{1} << frame);
    if (!parse_common(frames_[frame], headers_[frame])) {
        parse(frames_[frame], headers_[frame]);
    }
}

Headers parse_frame(const Frame& frame) noexcept {
    Headers headers{};
    parse(frame, headers);
    return headers;
}

Headers parse_packet(const Frame& packet, lib::Family family) noexcept {
    Headers headers{};
    if (family == lib::Family::ipv4) {
        parse_ipv4(packet, 0, 0, headers);
    } else {
        parse_ipv6(packet, 0, 0, headers);
    }
    return headers;
}

void parse_burst(std::span<const Frame> frames, HeaderBurst& burst, CommonFunction common) noexcept {
    const auto count = static_cast<std::uint32_t>(std::min(frames.size(), max_burst));
    const std::uint64_t all = count == max_burst ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1;
    const std::uint64_t known = common(
        frames.data(), count,
        {.source4 = burst.source4.data(), .dest4 = burst.dest4.data(), .frames = burst.headers.frames()});
    burst.count = count;
    burst.frames = all;
    burst.ipv4 = known;
    burst.ipv6 = 0;
    burst.uneven = 0;
    burst.fragments = 0;
    burst.headers.postpone(known);
    if (known != all) {
        parse_others(frames, all & ~known, burst);
    }
}

void parse_again(const Frame& frame, std::size_t place, HeaderBurst& burst) noexcept {
    const std::uint64_t others = ~(std::uint64_t{1} << place);
    burst.ipv4 &= others;
    burst.ipv6 &= others;
    burst.uneven &= others;
    burst.fragments &= others;
    note(parse(frame, burst.headers.overwrite(place)), place, burst);
}

}  // namespace flowtap::dataplane::match
