// One entry of an address list. Internal to the codec.
#pragma once

#include "lib/criterion.h"

#include <optional>
#include <string_view>

namespace flowtap::lib::dtcp {

struct AddressEntry {
    AddressTerm term;
    bool whole = false;  ///< `*`: its family is not known yet
};

/// A, A/len, A-B, A-*, *-B or *, each with `!` before it or not; nothing where it is none of them, reversed,
/// of two families, or has host bits set.
std::optional<AddressEntry> parse_address_entry(std::string_view entry);

IpAddress lowest_address(Family family);
IpAddress highest_address(Family family);

}  // namespace flowtap::lib::dtcp
