// Network byte order in unaligned memory.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace flowtap::crypto {

template <std::unsigned_integral Value>
Value load_big_endian(const std::uint8_t* place) {
    Value value;
    std::memcpy(&value, place, sizeof(value));
    return std::endian::native == std::endian::little ? std::byteswap(value) : value;
}

template <std::unsigned_integral Value>
void store_big_endian(std::uint8_t* place, Value value) {
    const Value ordered = std::endian::native == std::endian::little ? std::byteswap(value) : value;
    std::memcpy(place, &ordered, sizeof(ordered));
}

}  // namespace flowtap::crypto
