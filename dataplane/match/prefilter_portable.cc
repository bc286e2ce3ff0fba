#include "dataplane/match/key_space.h"
#include "dataplane/match/prefilter.h"

#include <bit>

namespace flowtap::dataplane::match {

std::uint64_t probe_portable(const Filter& filter, const Probe& probe, std::uint32_t* hashes) noexcept {
    const std::uint32_t mask = std::bit_ceil(filter.size) - 1;
    std::uint64_t hits = 0;
    for (std::uint32_t i = 0; i < probe.count; ++i) {
        const std::uint32_t hash = mix((probe.keys[i] & probe.key_mask) ^ probe.salt);
        hashes[i] = hash;
        const std::uint16_t tag = tag_of(hash);
        const std::uint32_t* const word = filter.words + 2 * bucket_of(hash, filter.size, mask) + (tag & 1);
        const std::uint32_t bits = filter_bits(tag);
        hits |= std::uint64_t{(__atomic_load_n(word, __ATOMIC_RELAXED) & bits) == bits} << i;
    }
    return hits;
}

}  // namespace flowtap::dataplane::match
