// Tells a hung peer from a live one by a counter that the peer keeps raising.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace flowtap::lib {

enum class Health : std::uint8_t { alive, stalled };

/// A peer is stalled when its counter has not changed for the limit; any change makes it alive again. Looked
/// at every 100 ms it notices a hung peer within 1 s. Of a pause between two looks only `longest_step`
/// counts: what stopped the watcher (a machine that stands still) has stopped the peer as well.
class HeartbeatWatch {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr Clock::duration longest_step = std::chrono::milliseconds(200);

    explicit HeartbeatWatch(Clock::time_point start, Clock::duration limit = std::chrono::milliseconds(900))
        : looked_(start), limit_(limit) {}

    Health observe(Clock::time_point now, std::uint64_t counter) {
        silence_ += std::min(now - looked_, longest_step);
        looked_ = now;
        if (counter != counter_) {
            counter_ = counter;
            silence_ = Clock::duration::zero();
        }
        return silence_ >= limit_ ? Health::stalled : Health::alive;
    }

  private:
    std::uint64_t counter_ = 0;
    Clock::time_point looked_;
    Clock::duration silence_{};
    Clock::duration limit_;
};

}  // namespace flowtap::lib
