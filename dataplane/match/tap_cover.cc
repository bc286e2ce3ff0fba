#include "dataplane/match/tap_cover.h"

#include <algorithm>
#include <tuple>
#include <type_traits>

namespace flowtap::dataplane::match {
namespace {

// Taps already under a key from which on another side is preferred: each costs its verification.
constexpr std::size_t crowded = 16;

template <typename Value>
constexpr const auto& levels = [] -> const auto& {
    if constexpr (std::is_same_v<Value, std::uint32_t>) {
        return ipv4_levels;
    } else {
        return ipv6_levels;
    }
}();

// The longest level of which two blocks cover the range; levels.size() if there is none.
template <typename Value>
std::size_t level_for(const Range<Value>& range) {
    for (std::size_t level = 0; level < levels<Value>.size(); ++level) {
        const unsigned shift = 8 * sizeof(Value) - levels<Value>[level];
        if ((range.last >> shift) - (range.first >> shift) <= 1) {
            return level;
        }
    }
    return levels<Value>.size();
}

}  // namespace

template <typename Value>
void TapCover::fill(Cover& cover, const RangeSet<Value>& set, std::size_t group, const KeySpace& key_space) {
    for (const Range<Value>& range : set) {
        const std::size_t level = level_for(range);
        if (level == levels<Value>.size()) {
            return;
        }
        cover.widest = std::max(cover.widest, level);
        for (const Value address : {range.first, range.last}) {
            cover.keys.push_back({key_space.hash(address, group, level), place_of(group, level)});
        }
    }
    std::ranges::sort(cover.keys);
    const auto repeated = std::ranges::unique(cover.keys);
    cover.keys.erase(repeated.begin(), repeated.end());
    cover.usable = true;
}

bool TapCover::better(const Cover& left, const Cover& right, const TapIndex& index) {
    const auto cost = [&](const Cover& cover) {
        return std::tuple(!cover.usable,
                          cover.usable && index.crowd(cover.keys.front().hash, crowded) == crowded,
                          cover.widest, cover.keys.size());
    };
    return cost(left) < cost(right);
}

std::span<const Key> TapCover::choose(const CompiledCriterion& criterion, const KeySpace& key_space,
                                      const TapIndex& index) {
    for (const Side side : {Side::source, Side::dest}) {
        Cover& cover = covers_[static_cast<std::size_t>(side)];
        cover.keys.clear();
        cover.widest = 0;
        cover.usable = false;
        if ((unsigned{criterion.bounded()} >> static_cast<unsigned>(side) & 1U) == 0) {
            continue;
        }
        const std::size_t group = group_of(criterion.family(), side);
        if (criterion.family() == lib::Family::ipv4) {
            fill(cover, criterion.ipv4(side), group, key_space);
        } else {
            fill(cover, criterion.ipv6(side), group, key_space);
        }
    }
    const Cover& best = better(covers_[1], covers_[0], index) ? covers_[1] : covers_[0];
    return best.usable ? std::span<const Key>(best.keys) : std::span<const Key>();
}

}  // namespace flowtap::dataplane::match
