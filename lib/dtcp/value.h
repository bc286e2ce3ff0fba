// The parts that values are made of: entries of lists, ranges, numbers, identifiers, addresses. Internal to
// the codec.
//
// A value is split as it came; only a part that has been split off is unescaped, so that an escaped byte is
// never a delimiter.
#pragma once

#include "lib/address.h"
#include "lib/dtcp/escape.h"
#include "lib/dtcp/message.h"

#include <charconv>
#include <concepts>
#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::lib::dtcp {

constexpr bool is_white_space(char byte) {
    return byte == ' ' || byte == '\t';
}

constexpr std::string_view trim_end(std::string_view text) {
    while (!text.empty() && is_white_space(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

constexpr std::string_view trim(std::string_view text) {
    while (!text.empty() && is_white_space(text.front())) {
        text.remove_prefix(1);
    }
    return trim_end(text);
}

/// Calls `visit` with each entry, without the white space around it, until it says false; whether it never
/// did.
template <std::predicate<std::string_view> Visit>
bool for_each_entry(std::string_view value, Visit visit) {
    for (;;) {
        const auto comma = value.find(',');
        if (!visit(trim(value.substr(0, comma)))) {
            return false;
        }
        if (comma == std::string_view::npos) {
            return true;
        }
        value.remove_prefix(comma + 1);
    }
}

std::size_t count_entries(std::string_view value);

std::vector<std::string_view> split_entries(std::string_view value);

/// The part itself, or its unescaped form in `storage`; nothing where an escape is bad.
std::optional<std::string_view> plain(std::string_view part, std::string& storage);

/// Decimal digits and nothing else.
template <std::unsigned_integral Number>
std::optional<Number> parse_number(std::string_view part, Number largest) {
    std::string storage;
    const auto text = plain(part, storage);
    Number number = 0;
    if (!text) {
        return std::nullopt;
    }
    const char* const end = text->data() + text->size();
    const auto [stop, error] = std::from_chars(text->data(), end, number);
    if (error != std::errc{} || stop != end || number > largest) {
        return std::nullopt;
    }
    return number;
}

template <std::unsigned_integral Number>
struct Range {
    Number first = 0;
    Number last = 0;
    bool negated = false;
    bool whole = false;   ///< `*`
    bool single = false;  ///< a number by itself
};

/// N, N-M, N-*, *-M or *, each with `!` before it or not; nothing where it is none of them, reversed or too
/// large.
template <std::unsigned_integral Number>
std::optional<Range<Number>> parse_range(std::string_view entry, Number largest) {
    Range<Number> range{.first = 0, .last = largest};
    if (entry.starts_with('!')) {
        range.negated = true;
        entry = trim(entry.substr(1));
    }
    if (entry == "*") {
        range.whole = true;
        return range;
    }
    const auto dash = entry.find('-');
    if (dash == std::string_view::npos) {
        const auto number = parse_number(entry, largest);
        if (!number) {
            return std::nullopt;
        }
        range.first = range.last = *number;
        range.single = true;
        return range;
    }
    const auto low = trim(entry.substr(0, dash));
    const auto high = trim(entry.substr(dash + 1));
    if (low == "*" && high == "*") {
        return std::nullopt;
    }
    if (low != "*") {
        const auto number = parse_number(low, largest);
        if (!number) {
            return std::nullopt;
        }
        range.first = *number;
    }
    if (high != "*") {
        const auto number = parse_number(high, largest);
        if (!number) {
            return std::nullopt;
        }
        range.last = *number;
    }
    if (range.first > range.last) {
        return std::nullopt;
    }
    return range;
}

/// Unescaped: 1..max_identifier bytes of UTF-8 without control characters.
std::optional<std::string> parse_identifier(std::string_view part);

std::optional<IpAddress> parse_ip(std::string_view part);

/// `parameter` may be nullptr: no line is to blame.
std::unexpected<Failure> fail(Code code, const Parameter* parameter, std::string_view reason);

}  // namespace flowtap::lib::dtcp
