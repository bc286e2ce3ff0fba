// The limits of content destinations (dtcp.md section 9, 580 and 680): when a destination's average passes
// its soft limit, and which taps go when it passes the hard one. Pure: averages in, decisions out.
#pragma once

#include "lib/records.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace flowtap::control {

/// bit/s
using Bandwidth = std::uint64_t;

/// Tells once that the limit was passed; again only after the average was below nine tenths of it, so that
/// traffic about the limit makes no stream of notifications.
class SoftLimit {
  public:
    /// True: the limit has been passed just now.
    bool passed(Bandwidth average, Bandwidth limit) {
        if (average > limit) {
            const bool news = !above_;
            above_ = true;
            return news;
        }
        if (average <= limit - limit / 10) {
            above_ = false;
        }
        return false;
    }

  private:
    bool above_ = false;
};

/// A tap that copies to the destination.
struct LoadedTap {
    lib::TapSlot slot{};
    std::uint8_t priority = 1;
    std::uint64_t added = 0;  ///< CLOCK_BOOTTIME, ns
    Bandwidth average = 0;    ///< what it sends there
};

/// The taps to be deleted so that what the others send is within the limit: lowest priority first, newest
/// first among equals, and no more than are needed. A tap that carries nothing is never among them: without
/// it, nothing would be less.
std::vector<lib::TapSlot> choose_purge(std::vector<LoadedTap> taps, Bandwidth limit);

}  // namespace flowtap::control
