#include "control/sequence_window.h"

namespace flowtap::control {

namespace {

/// Room for a wrap is there before the top of the number space only (dtcp.md section 3).
constexpr bool may_wrap(std::uint64_t current) {
    return current >> 56 == 0xff;
}

}  // namespace

SequenceVerdict SequenceWindow::check(std::uint64_t number) const {
    if (fresh_) {
        return SequenceVerdict::accepted;
    }
    const std::uint64_t ahead = number - current_;
    const std::uint64_t behind = current_ - number;
    if (ahead == 0) {
        return SequenceVerdict::seen;
    }
    if (ahead <= positive) {
        if (number > current_) {
            return SequenceVerdict::accepted;
        }
        return may_wrap(current_) ? SequenceVerdict::rollover : SequenceVerdict::too_far;
    }
    if (behind <= negative) {
        return bit(behind - 1) ? SequenceVerdict::seen : SequenceVerdict::accepted;
    }
    return number > current_ ? SequenceVerdict::too_far : SequenceVerdict::too_old;
}

SequenceVerdict SequenceWindow::accept(std::uint64_t number) {
    const auto verdict = check(number);
    if (!is_accepted(verdict)) {
        return verdict;
    }
    if (fresh_) {
        fresh_ = false;
        current_ = number;
        // Numbers below zero are none: they must not be taken for those before a wrap.
        for (std::uint64_t place = number; place < negative; ++place) {
            set(place);
        }
        return verdict;
    }
    const std::uint64_t ahead = number - current_;
    if (ahead <= positive) {
        shift(ahead);
        current_ = number;
    } else {
        set(current_ - number - 1);
    }
    return verdict;
}

/// The numbers seen move away from the new highest one by `step`, 1 to 256, and the old highest is one of
/// them.
void SequenceWindow::shift(std::uint64_t step) {
    const auto old = seen_;
    seen_.fill(0);
    for (std::uint64_t place = 0; place + step < negative; ++place) {
        if ((old[place / 64] >> (place % 64) & 1) != 0) {
            set(place + step);
        }
    }
    set(step - 1);
}

}  // namespace flowtap::control
