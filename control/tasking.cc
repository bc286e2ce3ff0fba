#include "control/tasking.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace flowtap::control {

namespace {

using lib::dtcp::Code;

TapTotals sum(const TapTotals& left, const TapTotals& right) {
    return {left.matched_packets + right.matched_packets, left.matched_bytes + right.matched_bytes,
            left.copies_sent + right.copies_sent, left.copies_dropped + right.copies_dropped,
            left.dropped_bytes + right.dropped_bytes};
}

/// Whole seconds left, rounded up.
std::uint32_t left(std::uint64_t from, std::uint32_t seconds, std::uint64_t now) {
    const std::uint64_t end = from + seconds * nanoseconds_per_second;
    return end <= now ? 0 : static_cast<std::uint32_t>((end - now - 1) / nanoseconds_per_second + 1);
}

/// A tap's end that was decided at `now`, CLOCK_BOOTTIME.
TapEvent end_of(const Tap& tap, bool timed_out, std::uint64_t now) {
    TapEvent event{TapEnd::removed, tap.id, tap.source, tap.plan.send_async, tap.plan.text->cdests, {}, {}};
    if (timed_out) {
        event.end = tap.total_over(now) ? TapEnd::total : TapEnd::idle;
    }
    event.specified.idle = tap.plan.idle;
    event.specified.total = tap.plan.total;
    if (tap.plan.idle) {
        event.remaining.idle = left(tap.statistics.active, *tap.plan.idle, now);
    }
    if (tap.plan.total) {
        event.remaining.total = left(tap.added_boot, *tap.plan.total, now);
    }
    return event;
}

}  // namespace

Tasking::Tasking(std::uint32_t max_taps, std::size_t sources) : taps_{max_taps, sources}, slots_{max_taps} {}

void Tasking::start(Registry registry, std::vector<RestoredTap> taps) {
    registry_ = std::move(registry);
    for (auto& restored : taps) {
        const auto slot = restored.entry.slot;
        if (!slots_.claim(static_cast<std::uint32_t>(slot))) {
            continue;
        }
        Tap tap{restored.entry.id,
                slot,
                restored.source,
                TapState::live,
                std::move(restored.plan),
                restored.entry.added_utc,
                restored.entry.added_boot,
                restored.entry.csource_address,
                registry_->statistics(slot)};
        const auto& placed = taps_.insert(std::move(tap));
        deadlines_.set(slot, placed.deadline());
    }
}

OperationId Tasking::begin(Kind kind, std::vector<lib::TapSlot> slots, Now now) {
    const auto id = OperationId{next_operation_++};
    operations_.emplace(id, Pending{kind, std::move(slots), now.boot, false});
    queued_.push_back(id);
    return id;
}

std::expected<OperationId, Code> Tasking::add(NewTap fresh, Now now) {
    if (!registry_) {
        return std::unexpected{Code::internal_error};
    }
    const auto number = slots_.take();
    if (!number) {
        return std::unexpected{Code::too_many_criteria};
    }
    const auto slot = lib::TapSlot{*number};
    const RegistryEntry entry{
        slot, fresh.id, now.utc, now.boot, fresh.csource_address, std::move(fresh.message)};
    if (!registry_->add(entry)) {
        slots_.give_back(*number);
        return std::unexpected{Code::too_many_criteria};
    }
    Tap tap{fresh.id, slot,     fresh.source,          TapState::adding,           std::move(fresh.plan),
            now.utc,  now.boot, fresh.csource_address, registry_->statistics(slot)};
    taps_.insert(std::move(tap));
    return begin(Kind::add, {slot}, now);
}

OperationId Tasking::remove(std::span<Tap* const> taps, Now now) {
    std::vector<lib::TapSlot> slots;
    slots.reserve(taps.size());
    for (Tap* const tap : taps) {
        tap->state = TapState::deleting;
        slots.push_back(tap->slot);
    }
    return begin(Kind::remove, std::move(slots), now);
}

std::vector<Outcome> Tasking::take_outcomes() {
    return std::exchange(outcomes_, {});
}

std::vector<TapEvent> Tasking::take_events() {
    return std::exchange(events_, {});
}

void Tasking::link_up(const lib::StatusView& status, Now now) {
    status_ = &status;
    swept_ = now.boot;
}

void Tasking::link_down(Now now) {
    if (status_ == nullptr) {
        return;
    }
    sweep(now, taps_.slots());
    status_ = nullptr;
    resync_.clear();
    resyncing_ = false;
    queued_.insert(queued_.begin(), in_flight_.begin(), in_flight_.end());
    in_flight_.clear();
}

bool Tasking::write(lib::CommandBatch& batch, const Pending& operation) {
    for (const auto slot : operation.slots) {
        const Tap& tap = *taps_.at(slot);
        if (operation.kind != Kind::add) {
            batch.remove_tap(slot, tap.id);
        } else if (!batch.add_tap(slot, tap.id, tap.plan.criterion, tap.plan.destinations)) {
            return false;
        }
    }
    return true;
}

bool Tasking::fill(lib::CommandBatch& batch, std::size_t records) {
    if (!in_flight_.empty() || resyncing_ || resync_wanted_) {
        return false;
    }
    const std::size_t end = batch.records().size() + records;
    while (!queued_.empty() && batch.records().size() < end) {
        const auto id = queued_.front();
        const auto& operation = operations_.at(id);
        if (operation.alone && !in_flight_.empty()) {
            break;
        }
        queued_.pop_front();
        if (!write(batch, operation)) {
            fail(id, Code::internal_error);
            continue;
        }
        in_flight_.push_back(id);
        if (operation.alone) {
            break;
        }
    }
    return !in_flight_.empty();
}

void Tasking::begin_resync() {
    // What waits becomes part of it: additions are written, removals left out.
    in_flight_.insert(in_flight_.end(), queued_.begin(), queued_.end());
    queued_.clear();
    resync_.clear();
    resync_next_ = 0;
    resyncing_ = true;
    resync_wanted_ = false;
    resync_.reserve(taps_.size());
    for (std::uint32_t number = 0; number < taps_.slots(); ++number) {
        const Tap* const tap = taps_.at(lib::TapSlot{number});
        if (tap != nullptr && (tap->state == TapState::adding || tap->state == TapState::live)) {
            resync_.push_back(tap->slot);
        }
    }
}

bool Tasking::fill_resync(lib::CommandBatch& batch, std::size_t records) {
    const std::size_t end = batch.records().size() + records;
    for (; resync_next_ < resync_.size() && batch.records().size() < end; ++resync_next_) {
        const Tap& tap = *taps_.at(resync_[resync_next_]);
        // What the codec and admit() let pass, the batch takes: else the ADD would have failed.
        [[maybe_unused]] const auto added =
            batch.add_tap(tap.slot, tap.id, tap.plan.criterion, tap.plan.destinations);
        assert(added.has_value());
    }
    return resync_next_ == resync_.size();
}

void Tasking::committed() {
    resync_.clear();
    resyncing_ = false;
    for (const auto id : std::exchange(in_flight_, {})) {
        finish(id);
    }
}

void Tasking::refused(lib::Refusal refusal, std::uint32_t slot) {
    resync_.clear();
    const bool resync = std::exchange(resyncing_, false);
    const Code code = refusal == lib::Refusal::table_full ? Code::too_many_criteria : Code::internal_error;
    auto operations = std::exchange(in_flight_, {});
    const bool of_sa = refusal == lib::Refusal::bad_key || refusal == lib::Refusal::bad_lease;
    const bool single = !resync && operations.size() == 1;
    std::erase_if(operations, [&](OperationId id) {
        auto& operation = operations_.at(id);
        const bool named = single || (resync && !of_sa && operation.slots.front() == lib::TapSlot{slot});
        operation.alone = true;
        if (operation.kind == Kind::add && named) {
            fail(id, code);
            return true;
        }
        return false;
    });
    // The others go one by one. A removal that is refused by itself is done by leaving the tap out of a
    // resync.
    resync_wanted_ = resync || (single && !operations.empty());
    queued_.insert(queued_.begin(), operations.begin(), operations.end());
}

void Tasking::forget(lib::TapSlot slot) {
    deadlines_.clear(slot);
    meters_.forget(slot);
    taps_.erase(*taps_.at(slot));
    slots_.give_back(static_cast<std::uint32_t>(slot));
}

void Tasking::finish(OperationId id) {
    const auto node = operations_.extract(id);
    const auto& operation = node.mapped();
    if (operation.kind == Kind::add) {
        Tap& tap = *taps_.at(operation.slots.front());
        tap.state = TapState::live;
        deadlines_.set(tap.slot, tap.deadline());
        outcomes_.push_back({id, Code::ok, static_cast<std::uint64_t>(tap.id)});
        return;
    }
    registry_->remove(operation.slots);
    for (const auto slot : operation.slots) {
        events_.push_back(end_of(*taps_.at(slot), operation.kind == Kind::expire, operation.accepted));
        forget(slot);
    }
    if (operation.kind == Kind::remove) {
        outcomes_.push_back({id, Code::ok, operation.slots.size()});
    }
}

void Tasking::fail(OperationId id, Code code) {
    const auto node = operations_.extract(id);
    const auto& operation = node.mapped();
    if (operation.kind == Kind::add) {
        registry_->remove(operation.slots);
        forget(operation.slots.front());
    } else {
        for (const auto slot : operation.slots) {
            Tap& tap = *taps_.at(slot);
            tap.state = TapState::live;
            deadlines_.set(slot, tap.deadline());
        }
    }
    if (operation.kind != Kind::expire) {
        outcomes_.push_back({id, code, 0});
    }
}

void Tasking::expire(Now now) {
    while (const auto slot = deadlines_.pop(now.boot)) {
        Tap& tap = *taps_.at(*slot);
        if (tap.state != TapState::live) {
            continue;  // set again should its removal fail
        }
        if (status_ == nullptr && !tap.total_over(now.boot)) {
            deadlines_.set(*slot, now.boot + nanoseconds_per_second);  // nobody can say whether it is idle
            continue;
        }
        read(tap, now);
        if (tap.deadline() > now.boot) {
            deadlines_.set(*slot, tap.deadline());
            continue;
        }
        tap.state = TapState::over;
        ++timed_out_;
        begin(Kind::expire, {*slot}, now);
    }
}

void Tasking::lose_patience(Now now) {
    for (auto id = queued_.begin(); id != queued_.end();) {
        const auto& operation = operations_.at(*id);
        // What is over stays over: it waits for as long as it takes.
        if (operation.kind != Kind::expire && operation.accepted + patience <= now.boot) {
            const auto late = *id;
            id = queued_.erase(id);
            fail(late, Code::internal_error);
        } else {
            ++id;
        }
    }
}

TapTotals Tasking::live(lib::TapSlot slot) const {
    TapTotals totals;
    if (status_ == nullptr) {
        return totals;
    }
    for (std::size_t worker = 0; worker < status_->shape().worker_count; ++worker) {
        const auto& counters = status_->taps(worker)[static_cast<std::size_t>(slot)];
        const auto value = [&](lib::TapCounter index) {
            return counters[index].load(std::memory_order_relaxed);
        };
        totals = sum(totals, {value(lib::TapCounter::matched_packets), value(lib::TapCounter::matched_bytes),
                              value(lib::TapCounter::copies_sent), value(lib::TapCounter::copies_dropped),
                              value(lib::TapCounter::dropped_bytes)});
    }
    return totals;
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
    fresh.seen = live(tap.slot);
    const auto before = sum(statistics.before, statistics.seen);
    const auto total = sum(fresh.before, fresh.seen);
    if (total.matched_packets != before.matched_packets) {
        fresh.active = now.boot;
    }
    meters_.sample(tap.slot, now.boot, total.matched_bytes, swept_, before.matched_bytes);
    if (fresh != statistics) {
        statistics = fresh;
        registry_->set_statistics(tap.slot, fresh);
        if (tap.state == TapState::live && tap.plan.idle) {
            deadlines_.set(tap.slot, tap.deadline());
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
    if (!started()) {
        return;
    }
    sweep(now, std::max<std::uint32_t>(taps_.slots() / 10, 1));
    expire(now);
    lose_patience(now);
}

TapTotals Tasking::totals(const Tap& tap) const {
    const auto& statistics = tap.statistics;
    if (status_ == nullptr) {
        return sum(statistics.before, statistics.seen);
    }
    if (tap.state == TapState::adding) {
        return {};
    }
    const auto before =
        statistics.epoch == status_->epoch() ? statistics.before : sum(statistics.before, statistics.seen);
    return sum(before, live(tap.slot));
}

std::uint64_t Tasking::bandwidth(const Tap& tap, const TapTotals& totals, Now now) const {
    const auto last = sum(tap.statistics.before, tap.statistics.seen).matched_bytes;
    return meters_.average(tap.slot, now.boot, totals.matched_bytes, last, tap.added_boot);
}

}  // namespace flowtap::control
