#include "crypto/replay_window.h"

#include <algorithm>

namespace flowtap::crypto {

ReplayWindow::Answer ReplayWindow::check(std::uint64_t sequence) const {
    if (sequence > highest_) {
        return Answer::fresh;
    }
    if (highest_ - sequence >= size_) {
        return Answer::too_old;
    }
    const bool seen = (seen_[sequence / bits % words] >> sequence % bits & 1) != 0;
    return seen ? Answer::replayed : Answer::fresh;
}

void ReplayWindow::mark(std::uint64_t sequence) {
    if (sequence > highest_) {
        // Words between the old top and the new one hold numbers of a round before.
        const std::uint64_t steps = std::min<std::uint64_t>(sequence / bits - highest_ / bits, words);
        for (std::uint64_t step = 0; step < steps; ++step) {
            seen_[(sequence / bits - step) % words] = 0;
        }
        highest_ = sequence;
    }
    seen_[sequence / bits % words] |= std::uint64_t{1} << sequence % bits;
}

}  // namespace flowtap::crypto
