// Tells a hung peer from a live one by a counter that the peer keeps raising.
#pragma once

#include <chrono>
#include <cstdint>

namespace flowtap::lib {

enum class Health : std::uint8_t { alive, stalled };

/// A peer is stalled when its counter has not changed for the limit; any change makes it alive again. Looked
/// at every 100 ms it notices a hung peer within 1 s.
class HeartbeatWatch {
  public:
    using Clock = std::chrono::steady_clock;

    explicit HeartbeatWatch(Clock::time_point start, Clock::duration limit = std::chrono::milliseconds(900))
        : changed_(start), limit_(limit) {}

    Health observe(Clock::time_point now, std::uint64_t counter) {
        if (counter != counter_) {
            counter_ = counter;
            changed_ = now;
        }
        return now - changed_ >= limit_ ? Health::stalled : Health::alive;
    }

  private:
    std::uint64_t counter_ = 0;
    Clock::time_point changed_;
    Clock::duration limit_;
};

}  // namespace flowtap::lib
