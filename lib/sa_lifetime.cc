#include "lib/sa_lifetime.h"

#include <algorithm>

namespace flowtap::lib {

LifeSpan longest_life(const SuiteInfo& suite, bool extended_sequence) {
    LifeSpan life = unlimited;
    // Of 64-bit numbers the last is not used, so that a lease's end can be told (crypto/sequence_counter.h).
    life[LifeUnit::packets] = extended_sequence ? UINT64_MAX - 1 : UINT32_MAX;
    if (const std::uint64_t bytes = block_limit(suite); bytes != 0) {
        life[LifeUnit::bytes] = bytes;
    }
    return life;
}

SaLifetimes complete(SaLifetimes written, const LifeSpan& longest) {
    for (std::size_t unit = 0; unit < life_units.size(); ++unit) {
        auto& soft = written.soft.values[unit];
        auto& hard = written.hard.values[unit];
        hard = std::min(hard, longest.values[unit]);
        if (soft == no_limit && hard != no_limit) {
            soft = hard - hard / 8;
        }
    }
    return written;
}

}  // namespace flowtap::lib
