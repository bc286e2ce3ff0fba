// "Surely not" for a whole burst: a bit per key, tested in vectors.
//
// Every bucket of the index has two 32-bit words here; a key sets four bits in one of them. Its hash chooses
// the bucket (spread), the tag (tag_of) the word by its bit 0, and the bits by its bits 1-5, 6-10, 11-15 and,
// once more, 3-7. All set: the key may be there. Three bits instead of four let a tenth more pass. The words
// follow the index's growth bucket by bucket, so that a table with few taps has a small filter.
//
// The variants are compiled with their own instruction sets, and share no inline function with the rest of
// the program: the linker may keep any one copy of such a function for all.
//
// Thread safety: reads words that the writer stores whole; a stale word is a candidate too many, or one too
// few of a generation that the reader does not have yet.
#pragma once

#include "dataplane/match/key_space.h"
#include "dataplane/match/simd.h"

#include <cstdint>

namespace flowtap::dataplane::match {

struct Filter {
    const std::uint32_t* words = nullptr;  ///< two a bucket
    std::uint32_t size = 0;                ///< buckets, at least 1
};

struct Probe {
    const std::uint32_t* keys =
        nullptr;                 ///< room for `count` rounded up to 16; what is beyond may be anything
    std::uint32_t count = 0;     ///< at most 64
    std::uint32_t key_mask = 0;  ///< what counts of a key
    std::uint32_t salt = 0;
};

/// Bit i: key i may be in the index. Bits from count on are undefined. hashes[i] = mix((keys[i] & key_mask) ^
/// salt), with the same room as keys.
using ProbeFunction = std::uint64_t (*)(const Filter& filter, const Probe& probe,
                                        std::uint32_t* hashes) noexcept;

std::uint64_t probe_portable(const Filter& filter, const Probe& probe, std::uint32_t* hashes) noexcept;
std::uint64_t probe_avx2(const Filter& filter, const Probe& probe, std::uint32_t* hashes) noexcept;
std::uint64_t probe_avx512(const Filter& filter, const Probe& probe, std::uint32_t* hashes) noexcept;

/// A variant that this processor cannot run is replaced by the widest that it can: `simd` says which.
ProbeFunction probe_function(Simd& simd);

/// The bits of a key in its word.
constexpr std::uint32_t filter_bits(std::uint16_t tag) {
    return (1U << (tag >> 1 & 31)) | (1U << (tag >> 6 & 31)) | (1U << (tag >> 11 & 31)) |
           (1U << (tag >> 3 & 31));
}

/// Linear hashing: buckets from the last power of two on exist only below size.
constexpr std::uint32_t bucket_of(std::uint32_t hash, std::uint32_t size, std::uint32_t mask) {
    const std::uint32_t bucket = spread(hash) & mask;
    return bucket < size ? bucket : bucket & (mask >> 1);
}

}  // namespace flowtap::dataplane::match
