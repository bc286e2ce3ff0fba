// How long a security association may be used (RFC 4301 section 4.4.2.1): from its soft lifetime on another
// one is to take over, at its hard lifetime it ends, whatever comes after it.
#pragma once

#include "lib/records.h"
#include "lib/suite.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace flowtap::lib {

/// In what a lifetime is measured. Seconds count from the key's first use, packets are sequence numbers that
/// were used or skipped, bytes are those that went through the cipher.
enum class LifeUnit : std::uint8_t { seconds, packets, bytes, count_ };
inline constexpr std::array<std::string_view, static_cast<std::size_t>(LifeUnit::count_)> life_units{
    "seconds", "packets", "bytes"};

/// One number of each unit: a limit, where no_limit is none, or what has been used of it.
struct LifeSpan {
    std::array<std::uint64_t, life_units.size()> values{};

    constexpr std::uint64_t& operator[](LifeUnit unit) { return values[static_cast<std::size_t>(unit)]; }
    constexpr std::uint64_t operator[](LifeUnit unit) const { return values[static_cast<std::size_t>(unit)]; }
    bool operator==(const LifeSpan&) const = default;
};
inline constexpr LifeSpan unlimited{{no_limit, no_limit, no_limit}};

struct SaLifetimes {
    LifeSpan soft = unlimited;
    LifeSpan hard = unlimited;
    bool operator==(const SaLifetimes&) const = default;
};

/// The most that the suite and its sequence numbers allow.
LifeSpan longest_life(const SuiteInfo& suite, bool extended_sequence);

/// Fills in what the file does not say: the hard lifetime is the longest one, the soft one seven eighths of
/// the hard one.
SaLifetimes complete(SaLifetimes written, const LifeSpan& longest);

}  // namespace flowtap::lib
