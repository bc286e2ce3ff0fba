// Big-endian fields of packets, at any alignment, as numbers in host byte order.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace flowtap::dataplane::match {

inline std::uint16_t load_be16(const std::uint8_t* bytes) {
    std::uint16_t value = 0;
    std::memcpy(&value, bytes, sizeof value);
    return std::byteswap(value);
}

inline std::uint32_t load_be32(const std::uint8_t* bytes) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes, sizeof value);
    return std::byteswap(value);
}

inline std::uint64_t load_be64(const std::uint8_t* bytes) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes, sizeof value);
    return std::byteswap(value);
}

static_assert(std::endian::native == std::endian::little, "load_be swaps always");

}  // namespace flowtap::dataplane::match
