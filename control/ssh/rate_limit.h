// At most so many admissions in any 60 seconds.
//
// A sliding window, not a bucket refilled by the minute: no 60 seconds whatever hold more than the limit.
// Only admitted attempts count, so that a flood delays the others by at most the window and never for as long
// as it lasts.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace flowtap::control::ssh {

class RateLimit {
  public:
    using TimePoint = std::chrono::steady_clock::time_point;

    static constexpr std::chrono::seconds window{60};

    /// `limit`: admissions in a window, at least 1.
    explicit RateLimit(std::uint16_t limit);

    /// Whether one more attempt is admitted at `now`, which never runs backwards; an admitted one is counted.
    bool admit(TimePoint now);
    /// Whether admit() would refuse.
    bool full(TimePoint now) const { return admitted_.size() == limit_ && now - admitted_[oldest_] < window; }
    /// Whether it is as good as new: nothing was admitted within the window.
    bool idle(TimePoint now) const;

  private:
    std::vector<TimePoint> admitted_;  ///< the last ones, a ring of at most limit_
    std::size_t limit_;
    std::size_t oldest_ = 0;
};

}  // namespace flowtap::control::ssh
