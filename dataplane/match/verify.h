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

// Checks the field if it is bounded, and moves `words` behind its ranges.
template <typename Value>
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
    return in_many(ranges, count, value);
}

}  // namespace detail

/// Family, required parts, every list and the interfaces; not the generation. `port` is where the frame came
/// in. Only of a frame that is matchable, or of a tap of whole frames.
inline bool criterion_matches(const TapRecord& record, const Headers& headers, std::uint16_t port) {
    const std::uint32_t* words = record.ranges();
    if ((record.traits & trait::layer2) != 0) [[unlikely]] {
        return detail::in_field(record, interface_field, words, interface_of(port, headers));
    }
    constexpr std::uint8_t parts = flag::ports | flag::icmp;
    const bool is_ipv6 = headers.family == lib::Family::ipv6;
    if (((record.traits & trait::ipv6) != 0) != is_ipv6 || (record.traits & parts & ~headers.flags) != 0) {
        return false;
    }
    if (!is_ipv6) {
        if (!detail::in_field(record, 0, words, load_be32(headers.source.data())) ||
            !detail::in_field(record, 1, words, load_be32(headers.dest.data()))) {
            return false;
        }
    } else {
        const auto address = [](const std::uint8_t* bytes) {
            return (static_cast<Uint128>(load_be64(bytes)) << 64) | load_be64(bytes + 8);
        };
        if (!detail::in_field(record, 0, words, address(headers.source.data())) ||
            !detail::in_field(record, 1, words, address(headers.dest.data()))) {
            return false;
        }
    }
    return detail::in_field(record, 2, words, headers.protocol) &&
           detail::in_field(record, 3, words, headers.source_port) &&
           detail::in_field(record, 4, words, headers.dest_port) &&
           detail::in_field(record, 5, words, std::uint16_t{headers.icmp_type}) &&
           detail::in_field(record, 6, words, std::uint16_t{headers.icmp_code}) &&
           detail::in_field(record, interface_field, words, interface_of(port, headers));
}

}  // namespace flowtap::dataplane::match
