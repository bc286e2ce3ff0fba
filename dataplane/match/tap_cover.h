// Under which keys is a tap entered? Those of its source or of its destination addresses, whichever are fewer
// frames'.
//
// Thread safety: the writer's.
#pragma once

#include "dataplane/match/compiled_criterion.h"
#include "dataplane/match/key_space.h"
#include "dataplane/match/tap_index.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace flowtap::dataplane::match {

struct Key {
    std::uint32_t hash;
    Place place;

    auto operator<=>(const Key&) const = default;
};

class TapCover {
  public:
    /// The tap's keys, each once; none: no list of addresses narrows it down. Valid until the next call.
    /// Throws std::bad_alloc.
    std::span<const Key> choose(const CompiledCriterion& criterion, const KeySpace& key_space,
                                const TapIndex& index);

  private:
    /// One side's keys and what they cost.
    struct Cover {
        std::vector<Key> keys;
        std::size_t widest = 0;  ///< highest level: a wide block is passed by many frames
        bool usable = false;
    };

    template <typename Value>
    static void fill(Cover& cover, const RangeSet<Value>& set, std::size_t group, const KeySpace& key_space);
    static bool better(const Cover& left, const Cover& right, const TapIndex& index);

    std::array<Cover, 2> covers_;
};

}  // namespace flowtap::dataplane::match
