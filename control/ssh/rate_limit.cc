#include "control/ssh/rate_limit.h"

#include <algorithm>

namespace flowtap::control::ssh {

RateLimit::RateLimit(std::uint16_t limit) : limit_(std::max<std::size_t>(limit, 1)) {
    admitted_.reserve(limit_);
}

bool RateLimit::admit(TimePoint now) {
    if (admitted_.size() < limit_) {
        admitted_.push_back(now);
        return true;
    }
    if (now - admitted_[oldest_] < window) {
        return false;
    }
    admitted_[oldest_] = now;
    oldest_ = (oldest_ + 1) % limit_;
    return true;
}

}  // namespace flowtap::control::ssh
