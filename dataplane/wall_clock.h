// The time of day from the cycle counter, without a system call.
//
// Thread safety: the manager adjusts, any thread asks. It follows the system's clock, steps included, as
// often as it is adjusted; between two adjustments it goes by the counter's rate as it was given. So it may
// go back by what the two differ.
#pragma once

#include <atomic>
#include <cstdint>

namespace flowtap::dataplane {

class WallClock {
  public:
    /// Cycles a second.
    explicit WallClock(std::uint64_t rate)
        : nanoseconds_((static_cast<Wide>(1'000'000'000) << fraction) / rate) {}

    /// At `cycles` it is `unix_time`, ns since 1970.
    void set(std::uint64_t cycles, std::uint64_t unix_time) {
        offset_.store(unix_time - since_zero(cycles), std::memory_order_relaxed);
    }
    /// Asks the system, unless it takes so long that the answer would be wrong by more than an adjustment.
    void adjust();

    /// ns since 1970.
    std::uint64_t at(std::uint64_t cycles) const {
        return since_zero(cycles) + offset_.load(std::memory_order_relaxed);
    }

  private:
    __extension__ using Wide = unsigned __int128;
    static constexpr unsigned fraction = 40;

    std::uint64_t since_zero(std::uint64_t cycles) const {
        return static_cast<std::uint64_t>(cycles * nanoseconds_ >> fraction);
    }

    Wide nanoseconds_;  ///< a cycle, in 2^-fraction
    std::atomic<std::uint64_t> offset_ = 0;
};

}  // namespace flowtap::dataplane
