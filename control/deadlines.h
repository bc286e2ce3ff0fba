// Which taps are due when. Not thread-safe: one owner.
#pragma once

#include "lib/records.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

namespace flowtap::control {

class Deadlines {
  public:
    static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

    /// Replaces what was set for the slot before.
    void set(lib::TapSlot slot, std::uint64_t deadline) {
        clear(slot);
        if (deadline != never) {
            by_slot_.emplace(slot, deadline);
            in_order_.emplace(deadline, slot);
        }
    }

    void clear(lib::TapSlot slot) {
        if (const auto found = by_slot_.find(slot); found != by_slot_.end()) {
            in_order_.erase({found->second, slot});
            by_slot_.erase(found);
        }
    }

    /// Takes out the first that is not later than `now`.
    std::optional<lib::TapSlot> pop(std::uint64_t now) {
        if (in_order_.empty() || in_order_.begin()->first > now) {
            return std::nullopt;
        }
        const auto slot = in_order_.begin()->second;
        clear(slot);
        return slot;
    }

  private:
    std::set<std::pair<std::uint64_t, lib::TapSlot>> in_order_;
    std::unordered_map<lib::TapSlot, std::uint64_t> by_slot_;
};

}  // namespace flowtap::control
