// The average bandwidth of the taps that carry something, over 10 s.
//
// Only a tap that counted within the last window has a meter. Not thread-safe: one owner.
#pragma once

#include "lib/records.h"

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

namespace flowtap::control {

class Meters {
  public:
    static constexpr std::uint64_t window = 10'000'000'000;  ///< ns

    /// What the tap has counted in all, about once a second. `before` and `before_time`: the last reading.
    void sample(lib::TapSlot slot, std::uint64_t time, std::uint64_t bytes, std::uint64_t before_time,
                std::uint64_t before);
    void forget(lib::TapSlot slot) { meters_.erase(slot); }

    /// bit/s over the window that ends at `now`, or over the tap's life where it is shorter. `bytes`: what it
    /// has counted; `before`: what the last reading said, `added`: when its life began.
    std::uint64_t average(lib::TapSlot slot, std::uint64_t now, std::uint64_t bytes, std::uint64_t before,
                          std::uint64_t added) const;

    /// Those with a meter, in no order.
    std::vector<lib::TapSlot> slots() const {
        std::vector<lib::TapSlot> slots;
        slots.reserve(meters_.size());
        for (const auto& [slot, readings] : meters_) {
            slots.push_back(slot);
        }
        return slots;
    }

  private:
    struct Reading {
        std::uint64_t time = 0;
        std::uint64_t bytes = 0;
    };

    std::unordered_map<lib::TapSlot, std::deque<Reading>> meters_;
};

}  // namespace flowtap::control
