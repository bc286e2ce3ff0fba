#include "lib/dtcp/address_entry.h"

#include "lib/dtcp/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace flowtap::lib::dtcp {
namespace {

IpAddress end_of(Family family, std::uint8_t fill) {
    IpAddress address{.family = family, .bytes = {}};
    std::fill_n(address.bytes.begin(), address_size(family), fill);
    return address;
}

std::optional<Prefix> parse_prefix_entry(std::string_view entry, std::size_t slash) {
    std::string address_storage;
    std::string length_storage;
    const auto address = plain(entry.substr(0, slash), address_storage);
    const auto length = plain(entry.substr(slash + 1), length_storage);
    if (!address || !length) {
        return std::nullopt;
    }
    const bool as_it_came = entry.find('\\') == std::string_view::npos;
    const auto prefix =
        as_it_came ? parse_prefix(entry) : parse_prefix(fmt::format("{}/{}", *address, *length));
    return prefix ? std::optional{*prefix} : std::nullopt;
}

}  // namespace

IpAddress lowest_address(Family family) {
    return end_of(family, 0);
}

IpAddress highest_address(Family family) {
    return end_of(family, 0xff);
}

std::optional<AddressEntry> parse_address_entry(std::string_view entry) {
    AddressEntry result;
    if (entry.starts_with('!')) {
        result.term.negated = true;
        entry = trim(entry.substr(1));
    }
    if (entry == "*") {
        result.whole = true;
        return result;
    }
    if (const auto dash = entry.find('-'); dash != std::string_view::npos) {
        const auto low = trim(entry.substr(0, dash));
        const auto high = trim(entry.substr(dash + 1));
        const auto first = parse_ip(low);
        const auto last = parse_ip(high);
        if ((!first && low != "*") || (!last && (high != "*" || !first))) {
            return std::nullopt;
        }
        result.term.first = first ? *first : lowest_address(last->family);
        result.term.last = last ? *last : highest_address(first->family);
        if (result.term.first.family != result.term.last.family || result.term.first > result.term.last) {
            return std::nullopt;
        }
        return result;
    }
    if (const auto slash = entry.find('/'); slash != std::string_view::npos) {
        const auto prefix = parse_prefix_entry(entry, slash);
        if (!prefix) {
            return std::nullopt;
        }
        result.term.first = first_address(*prefix);
        result.term.last = last_address(*prefix);
        return result;
    }
    const auto address = parse_ip(entry);
    if (!address) {
        return std::nullopt;
    }
    result.term.first = result.term.last = *address;
    return result;
}

}  // namespace flowtap::lib::dtcp
