// How fast a control source may ask: so many requests a second, and a second's worth at once.
#pragma once

#include "control/clock.h"

#include <algorithm>
#include <cstdint>

namespace flowtap::control {

class Pace {
  public:
    /// One request at `boot` (CLOCK_BOOTTIME, ns), of a source that may make `rate` a second (0: any number).
    /// False: not yet.
    bool take(std::uint32_t rate, std::uint64_t boot) {
        if (rate == 0) {
            return true;
        }
        const std::uint64_t interval = nanoseconds_per_second / rate;
        const std::uint64_t from = std::max(due_, boot);
        if (from + interval > boot + std::max(interval, nanoseconds_per_second)) {
            return false;
        }
        due_ = from + interval;
        return true;
    }

  private:
    std::uint64_t due_ = 0;  ///< when all that was taken is paid for
};

}  // namespace flowtap::control
