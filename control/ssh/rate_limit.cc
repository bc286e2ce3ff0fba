#include "control/ssh/rate_limit.h"

#include <algorithm>

namespace flowtap::control::ssh {

RateLimit::RateLimit(std::uint16_t limit) : limit_(std::max<std::size_t>(limit, 1)) {}

bool RateLimit::admit(TimePoint now) {
    if (full(now)) {
        return false;
    }
    if (admitted_.size() < limit_) {
        admitted_.push_back(now);
        return true;
    }
    admitted_[oldest_] = now;
    oldest_ = (oldest_ + 1) % limit_;
    return true;
}

bool RateLimit::idle(TimePoint now) const {
    if (admitted_.empty()) {
        return true;
    }
    const auto newest = (oldest_ + admitted_.size() - 1) % admitted_.size();
    return now - admitted_[newest] >= window;
}

}  // namespace flowtap::control::ssh
