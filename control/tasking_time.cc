// What Tasking does with time and counters.
#include "control/tasking.h"

#include <algorithm>
#include <array>
#include <utility>

namespace flowtap::control {

namespace {

/// Slots that one slice of a tick looks at.
constexpr std::uint32_t slice = 1024;

TapTotals sum(const TapTotals& left, const TapTotals& right) {
    return {left.matched_packets + right.matched_packets, left.matched_bytes + right.matched_bytes,
            left.copies_sent + right.copies_sent, left.copies_dropped + right.copies_dropped,
            left.dropped_bytes + right.dropped_bytes};
}

}  // namespace

void Tasking::end(Tap& tap, TapEnd reason, Now now) {
    auto left = remaining(tap.terms, tap.statistics.active, totals(tap), now.boot);
    switch (reason) {
        case TapEnd::packets:
            left.packets = 0;
            break;
        case TapEnd::bytes:
            left.bytes = 0;  // what is left is less than a packet that came
            break;
        case TapEnd::idle:
        case TapEnd::total:
        case TapEnd::removed:
            break;
    }
    tap.end = TapEvent{
        reason, tap.id, tap.source, tap.plan.send_async, tap.plan.text->cdests, specified(tap.terms), left};
    tap.state = TapState::over;
    deadlines_.clear(tap.slot);
    ++timed_out_;
    registry_->begin_removal(std::array{tap.slot});
    begin(Kind::expire, {tap.slot}, now);
}

/// Which of its limits has stopped it.
TapEnd Tasking::limit_of(const Tap& tap) const {
    const auto packets = totals(tap).matched_packets;
    return tap.terms.packets != 0 && packets >= tap.terms.packets_end ? TapEnd::packets : TapEnd::bytes;
}

void Tasking::tap_over(lib::TapSlot slot, lib::TapId id, Now now) {
    Tap* const tap = static_cast<std::uint32_t>(slot) < taps_.slots() ? taps_.at(slot) : nullptr;
    if (tap == nullptr || tap->id != id || (tap->terms.packets == 0 && tap->terms.bytes == 0)) {
        return;
    }
    if (tap->state == TapState::live) {
        read(*tap, now);
        end(*tap, limit_of(*tap), now);
    } else if (tap->state != TapState::over) {
        tap->told_over = true;
    }
}

void Tasking::expire(Now now) {
    while (const auto slot = deadlines_.pop(now.boot)) {
        Tap& tap = *taps_.at(*slot);
        if (tap.state != TapState::live) {
            continue;  // set again when what is on the way has come to its end
        }
        if (tap.told_over) {
            end(tap, limit_of(tap), now);
            continue;
        }
        const std::uint64_t whole = total_end(tap.terms);
        const bool whole_time = whole <= now.boot;
        if (status_ == nullptr && !whole_time) {
            // Nobody can say whether it is idle.
            deadlines_.set(*slot, std::min(whole, now.boot + nanoseconds_per_second));
            continue;
        }
        read(tap, now);
        if (const auto next = deadline(tap.terms, tap.statistics.active); next > now.boot) {
            deadlines_.set(*slot, next);
            continue;
        }
        end(tap, whole_time ? TapEnd::total : TapEnd::idle, now);
    }
}

TapTotals Tasking::live(const Tap& tap) const {
    TapTotals totals;
    if (status_ == nullptr) {
        return totals;
    }
    for (std::size_t worker = 0; worker < status_->shape().worker_count; ++worker) {
        const auto& counters = status_->taps(worker)[static_cast<std::size_t>(tap.slot)];
        const auto value = [&](lib::TapCounter index) {
            return counters[index].load(std::memory_order_relaxed);
        };
        totals = sum(totals, {value(lib::TapCounter::matched_packets), value(lib::TapCounter::matched_bytes),
                              value(lib::TapCounter::copies_sent), value(lib::TapCounter::copies_dropped),
                              value(lib::TapCounter::dropped_bytes)});
    }
    return totals;
}

/// What the tap had counted when it came into its slot of this dataplane.
TapTotals Tasking::before(const Tap& tap) const {
    const auto& statistics = tap.statistics;
    const bool same = status_ != nullptr && statistics.epoch == status_->epoch();
    return same ? statistics.before : sum(statistics.before, statistics.seen);
}

void Tasking::read(Tap& tap, Now now) {
    auto& statistics = tap.statistics;
    if (status_ == nullptr) {
        return;
    }
    auto fresh = statistics;
    if (statistics.epoch != status_->epoch()) {
        fresh.before = sum(statistics.before, statistics.seen);
        fresh.seen = {};
        fresh.epoch = status_->epoch();
    }
    fresh.seen = live(tap);
    const auto last = sum(statistics.before, statistics.seen);
    const auto total = sum(fresh.before, fresh.seen);
    if (total.matched_packets != last.matched_packets) {
        fresh.active = now.boot;
    }
    meters_.sample(tap.slot, now.boot, total.matched_bytes, swept_, last.matched_bytes);
    if (fresh != statistics) {
        statistics = fresh;
        registry_->set_statistics(tap.slot, fresh);
        if (tap.state == TapState::live && tap.terms.idle != 0 && !tap.told_over) {
            deadlines_.set(tap.slot, deadline(tap.terms, fresh.active));
        }
    }
}

void Tasking::sweep(Now now, std::uint32_t count) {
    for (std::uint32_t step = 0; step < count; ++step) {
        Tap* const tap = taps_.at(lib::TapSlot{sweep_next_});
        if (tap != nullptr && tap->state != TapState::adding) {
            read(*tap, now);
        }
        if (++sweep_next_ == taps_.slots()) {
            sweep_next_ = 0;
            swept_ = now.boot;
        }
    }
}

void Tasking::tick(Now now) {
    while (tick_some(now)) {
    }
}

bool Tasking::tick_some(Now now) {
    if (!started()) {
        return false;
    }
    if (sweep_left_ == 0) {
        sweep_left_ = std::max<std::uint32_t>(taps_.slots() / 10, 1);
    }
    const auto count = std::min(sweep_left_, slice);
    sweep(now, count);
    sweep_left_ -= count;
    if (sweep_left_ != 0) {
        return true;
    }
    expire(now);
    lose_patience(now);
    return false;
}

TapTotals Tasking::totals(const Tap& tap) const {
    const auto& statistics = tap.statistics;
    if (status_ == nullptr) {
        return sum(statistics.before, statistics.seen);
    }
    if (tap.state == TapState::adding) {
        return {};
    }
    return sum(before(tap), live(tap));
}

std::uint64_t Tasking::bandwidth(const Tap& tap, const TapTotals& totals, Now now) const {
    const auto last = sum(tap.statistics.before, tap.statistics.seen).matched_bytes;
    return meters_.average(tap.slot, now.boot, totals.matched_bytes, last, tap.added_boot);
}

}  // namespace flowtap::control
