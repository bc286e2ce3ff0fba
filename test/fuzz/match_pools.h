// The few addresses, ports, protocols and VLANs of the match target's taps and frames.
#pragma once

#include "lib/address.h"

#include <array>
#include <cstdint>

namespace flowtap::fuzz {

inline constexpr std::uint64_t table_seed = 1;
/// Frames come in at these, and criteria name these.
inline constexpr std::uint16_t ports = 2;

inline constexpr std::array<std::uint8_t, 16> protocols{6,  17, 17, 6,  1, 58,  132, 136,
                                                        33, 47, 50, 59, 0, 255, 4,   41};
inline constexpr std::array<std::uint16_t, 16> numbers{0,   1,   8,   15,   16,   17,    53,    80,
                                                       255, 256, 443, 4095, 4096, 40000, 65534, 65535};
inline constexpr std::array<std::uint16_t, 8> vlans{0, 1, 2, 15, 16, 100, 4094, 4095};

using Pool = std::array<lib::IpAddress, 16>;

/// Some of IPv4 share hashes under table_seed, which nobody outside can choose where the seed is secret: here
/// what happens once in 2^32 is to come often.
const Pool& pool_of(lib::Family family);

}  // namespace flowtap::fuzz
