// Copying some dozen bytes in place, without the call and the branches of memcpy.
//
// Thread safety: pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace flowtap::dataplane {

/// Above this the C library is faster (measured: copy-bench).
inline constexpr std::size_t longest_short_copy = 128;

/// As std::memcpy. Reads and writes nothing beyond the `size` bytes.
inline void copy_bytes(std::uint8_t* to, const std::uint8_t* from, std::size_t size) {
    constexpr std::size_t step = 16;  // one register of every x86-64
    if (size < step || size > longest_short_copy) [[unlikely]] {
        std::memcpy(to, from, size);
        return;
    }
    for (std::size_t at = 0; at + step < size; at += step) {
        std::memcpy(to + at, from + at, step);
    }
    // The last step overlaps the one before it.
    std::memcpy(to + size - step, from + size - step, step);
}

}  // namespace flowtap::dataplane
