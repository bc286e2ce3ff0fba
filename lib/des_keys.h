// What makes a key of triple DES one that must not be used (RFC 2451 section 2.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace flowtap::lib {

inline constexpr std::size_t triple_des_key_size = 24;

/// What is wrong with K1 | K2 | K3, never a part of it; empty: nothing. With two neighbours alike it would be
/// single DES; a weak or semi-weak part undoes itself or another. Parity bits do not count.
std::string_view triple_des_weakness(std::span<const std::uint8_t, triple_des_key_size> key);

}  // namespace flowtap::lib
