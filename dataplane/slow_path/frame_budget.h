// How many frames a second the slow path takes from one side: a bound on what a storm there can cost the
// kernel, and on what the kernel's answers can take of the delivery port beside the copies.
//
// Not thread-safe: one owner. Pure: the caller says what time it is.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace flowtap::dataplane::slow_path {

class FrameBudget {
  public:
    /// So many frames a second, and so many at once after a quiet time. The budget begins full.
    constexpr FrameBudget(std::uint64_t per_second, std::uint64_t at_once)
        : interval_ns_(1'000'000'000 / per_second), full_ns_(at_once * interval_ns_), left_ns_(full_ns_) {}

    /// `now`: nanoseconds of a clock that never goes back.
    constexpr void advance(std::uint64_t now) {
        left_ns_ = std::min(full_ns_, left_ns_ + std::min(full_ns_, now - std::exchange(now_, now)));
    }
    /// Whether one more frame may pass.
    constexpr bool any() const { return left_ns_ >= interval_ns_; }
    /// The same; if so, it is paid for.
    constexpr bool take() {
        if (!any()) {
            return false;
        }
        left_ns_ -= interval_ns_;
        return true;
    }

  private:
    std::uint64_t interval_ns_;  ///< what a frame costs
    std::uint64_t full_ns_;
    std::uint64_t left_ns_;
    std::uint64_t now_ = 0;
};

}  // namespace flowtap::dataplane::slow_path
