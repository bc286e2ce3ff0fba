// What an address is looked up as: for each family, side and level (prefix length) one 32-bit key.
//
// A tap is entered under the blocks that cover its source or its destination addresses. Blocks have few
// lengths, the levels, so that a frame needs few looks even when the taps' own prefixes have many lengths: a
// range is covered by one or two blocks of the longest level that can. What is covered too much costs a
// verification, never a wrong answer; so do two addresses that share a key.
//
// Thread safety: immutable.
#pragma once

#include "lib/address.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::dataplane::match {

__extension__ using Uint128 = unsigned __int128;

enum class Side : std::uint8_t { source, dest };

/// Prefix lengths, the longest first. Wider ranges than two blocks of the last level have no key: half of a
/// sixteenth of all traffic would be looked at anyway.
inline constexpr std::array<std::uint8_t, 7> ipv4_levels{32, 28, 24, 20, 16, 12, 8};
inline constexpr std::array<std::uint8_t, 12> ipv6_levels{128, 120, 112, 96, 64, 60, 56, 48, 40, 32, 24, 16};
inline constexpr std::size_t max_levels = 16;

/// Which keys one address of a frame has to be looked up as: bit l speaks of level l.
using LevelMask = std::uint16_t;

/// Family and side as an index.
constexpr std::size_t group_of(lib::Family family, Side side) {
    return (family == lib::Family::ipv6 ? 2U : 0U) + (side == Side::dest ? 1U : 0U);
}
inline constexpr std::size_t groups = 4;

/// Group and level in one number: group * max_levels + level.
using Place = std::uint8_t;

constexpr Place place_of(std::size_t group, std::size_t level) {
    return static_cast<Place>(group * max_levels + level);
}

// The mixing of keys, which the vector variants of the prefilter repeat. Bucket and tag come from a hash by
// different multiplications: the hashes of one bucket have to differ in their tags.
inline constexpr std::uint32_t mix_hash = 0x9e37'79b1;
inline constexpr std::uint32_t mix_bucket = 0x85eb'ca6b;
inline constexpr std::uint32_t mix_tag = 0xc2b2'ae35;

/// A bijection: IPv4 addresses under one salt never share a hash.
constexpr std::uint32_t mix(std::uint32_t key) {
    key *= mix_hash;
    return key ^ (key >> 15);
}

/// The number whose low bits choose the bucket.
constexpr std::uint32_t spread(std::uint32_t hash) {
    hash *= mix_bucket;
    return hash ^ (hash >> 16);
}

/// The 16 bits that are kept beside a pointer and that choose the filter's bits: see prefilter.h.
constexpr std::uint16_t tag_of(std::uint32_t hash) {
    return static_cast<std::uint16_t>((hash * mix_tag) >> 16);
}

class KeySpace {
  public:
    explicit KeySpace(std::uint64_t seed);

    std::uint32_t salt(Place place) const { return salts_[place]; }

    static constexpr std::uint32_t ipv4_mask(std::size_t level) {
        return ~std::uint32_t{0} << (32 - ipv4_levels[level]);
    }
    static constexpr Uint128 ipv6_mask(std::size_t level) {
        return ~Uint128{0} << (128 - ipv6_levels[level]);
    }

    /// The 128 bits of an IPv6 address under the mask, as a key to be salted and mixed.
    std::uint32_t fold(std::uint64_t high, std::uint64_t low) const {
        const Uint128 product = static_cast<Uint128>(high ^ fold_high_) * (low ^ fold_low_);
        const std::uint64_t folded =
            static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
        return static_cast<std::uint32_t>(folded ^ (folded >> 32));
    }
    std::uint32_t fold(Uint128 address, std::size_t level) const {
        address &= ipv6_mask(level);
        return fold(static_cast<std::uint64_t>(address >> 64), static_cast<std::uint64_t>(address));
    }

    std::uint32_t hash(std::uint32_t address, std::size_t group, std::size_t level) const {
        return mix((address & ipv4_mask(level)) ^ salt(place_of(group, level)));
    }
    std::uint32_t hash(Uint128 address, std::size_t group, std::size_t level) const {
        return mix(fold(address, level) ^ salt(place_of(group, level)));
    }

  private:
    std::array<std::uint32_t, groups * max_levels> salts_{};
    std::uint64_t fold_high_;
    std::uint64_t fold_low_;
};

}  // namespace flowtap::dataplane::match
