// Does a frame match a tap's criterion? The one place that decides it.
//
// Thread safety: reads the record's immutable part.
#pragma once

#include "dataplane/match/byte_order.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/tap_record.h"

#include <cstdint>
#include <cstring>

namespace flowtap::dataplane::match {

namespace detail {

template <typename Value>
inline Range<Value> range_at(const std::uint32_t* words, std::size_t index) {
    Range<Value> range;
    std::memcpy(&range, words + index * (sizeof range / sizeof *words), sizeof range);
    return range;
}

// Of sorted ranges only the last that begins at or before the value can hold it.
template <typename Value>
inline bool in_many(const std::uint32_t* words, std::size_t count, Value value) {
    std::size_t low = 0;
    while (count > 1) {
        const std::size_t half = count / 2;
        low += range_at<Value>(words, low + half).first <= value ? half : 0;
        count -= half;
    }
    const Range<Value> range = range_at<Value>(words, low);
    return range.first <= value && value <= range.last;
}

// Checks the field if it is bounded (and not if it is `open`), and moves `words` behind its ranges.
template <typename Value, bool open = false>
inline bool in_field(const TapRecord& record, unsigned field, const std::uint32_t*& words, Value value) {
    if ((unsigned{record.bounded} >> field & 1U) == 0) {
        return true;
    }
    std::size_t count = 1;
    if ((unsigned{record.single} >> field & 1U) == 0) {
        count = *words++;
    }
    const std::uint32_t* const ranges = words;
    words += count * (sizeof(Range<Value>) / sizeof *words);
    return open || in_many(ranges, count, value);
}

inline bool in_addresses(const TapRecord& record, const std::uint32_t*& words, const Headers& headers) {
    if (headers.family == lib::Family::ipv4) {
        return in_field(record, 0, words, load_be32(headers.source.data())) &&
               in_field(record, 1, words, load_be32(headers.dest.data()));
    }
    const auto address = [](const std::uint8_t* bytes) {
        return (static_cast<Uint128>(load_be64(bytes)) << 64) | load_be64(bytes + 8);
    };
    return in_field(record, 0, words, address(headers.source.data())) &&
           in_field(record, 1, words, address(headers.dest.data()));
}

inline bool is_of_family(const TapRecord& record, const Headers& headers) {
    return ((record.traits & trait::ipv6) != 0) == (headers.family == lib::Family::ipv6);
}

}  // namespace detail

/// Family, required parts, every list and the interfaces; not the generation. `port` is where the frame came
/// in. Only of a frame that is matchable, or of a tap of whole frames.
inline bool criterion_matches(const TapRecord& record, const Headers& headers, std::uint16_t port) {
    const std::uint32_t* words = record.ranges();
    if ((record.traits & trait::layer2) != 0) [[unlikely]] {
        return detail::in_field(record, interface_field, words, interface_of(port, headers));
    }
    if (!detail::is_of_family(record, headers) || (record.traits & trait::parts & ~headers.flags) != 0) {
        return false;
    }
    return detail::in_addresses(record, words, headers) &&
           detail::in_field(record, 2, words, headers.protocol) &&
           detail::in_field(record, 3, words, headers.source_port) &&
           detail::in_field(record, 4, words, headers.dest_port) &&
           detail::in_field(record, 5, words, std::uint16_t{headers.icmp_type}) &&
           detail::in_field(record, 6, words, std::uint16_t{headers.icmp_code}) &&
           detail::in_field(record, interface_field, words, interface_of(port, headers));
}

/// The same of a frame of IPv4 whose addresses alone are known, where nothing else is asked for: of a tap
/// with trait::addresses.
inline bool addresses_match(const TapRecord& record, std::uint32_t source, std::uint32_t dest) {
    const std::uint32_t* words = record.ranges();
    return (record.traits & trait::ipv6) == 0 && detail::in_field(record, 0, words, source) &&
           detail::in_field(record, 1, words, dest);
}

/// Whether later fragments are matched in full only with their first one. Every protocol of IPv6 is: what a
/// later fragment says of it does not count (RFC 8200 section 4.5).
inline bool asks_first_fragment(const TapRecord& record) {
    constexpr std::uint8_t protocol = 1U << index_of(lib::Field::protocol);
    return (record.traits & trait::parts) != 0 ||
           ((record.traits & trait::ipv6) != 0 && (record.bounded & protocol) != 0);
}

/// Of a fragment: whether a later fragment of the same datagram, of which no more is known than it holds
/// itself, may turn out to match when the first one is known. A later fragment that matches as it is has
/// nothing to gain. Never of a tap of whole frames.
inline bool first_fragment_decides(const TapRecord& record, const Headers& headers, std::uint16_t port) {
    if (!asks_first_fragment(record) || !detail::is_of_family(record, headers)) {
        return false;
    }
    const std::uint32_t* words = record.ranges();
    if (!detail::in_addresses(record, words, headers)) {
        return false;
    }
    if (headers.family == lib::Family::ipv4) {
        if ((record.traits & trait::parts & ~parts_of(headers.protocol)) != 0 ||
            !detail::in_field(record, 2, words, headers.protocol)) {
            return false;
        }
    } else {
        (void)detail::in_field<std::uint16_t, true>(record, 2, words, 0);
    }
    for (const unsigned field : {3U, 4U, 5U, 6U}) {
        (void)detail::in_field<std::uint16_t, true>(record, field, words, 0);
    }
    return detail::in_field(record, interface_field, words, interface_of(port, headers)) &&
           ((headers.flags & flag::later_fragment) == 0 || !criterion_matches(record, headers, port));
}

}  // namespace flowtap::dataplane::match
