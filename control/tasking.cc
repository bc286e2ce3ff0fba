#include "control/tasking.h"

#include "control/shims.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace flowtap::control {

namespace {

using lib::dtcp::Code;

/// The dataplane has to hear of the difference.
bool same_service(const TapTerms& left, const TapTerms& right) {
    return service_of(left, {}) == service_of(right, {});
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
        Tap tap;
        tap.id = restored.entry.id;
        tap.slot = slot;
        tap.source = restored.source;
        tap.plan = std::move(restored.plan);
        give_criteria_id(tap.plan.destinations, tap.id, tap.plan.has_intercept_id);
        tap.added_utc = restored.entry.added_utc;
        tap.added_boot = restored.entry.added_boot;
        tap.csource_address = restored.entry.csource_address;
        tap.statistics = registry_->statistics(slot);
        tap.terms = restored.entry.terms;
        tap.state = TapState::live;
        const auto& placed = taps_.insert(std::move(tap));
        deadlines_.set(slot, deadline(placed.terms, placed.statistics.active));
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
    Tap tap;
    tap.terms = terms_of(fresh.plan.timeouts, now);
    const RegistryEntry entry{
        slot, fresh.id, now.utc, now.boot, fresh.csource_address, std::move(fresh.message), tap.terms};
    if (!registry_->add(entry)) {
        slots_.give_back(*number);
        return std::unexpected{Code::too_many_criteria};
    }
    tap.id = fresh.id;
    tap.slot = slot;
    tap.source = fresh.source;
    tap.plan = std::move(fresh.plan);
    give_criteria_id(tap.plan.destinations, tap.id, tap.plan.has_intercept_id);
    tap.added_utc = now.utc;
    tap.added_boot = now.boot;
    tap.csource_address = fresh.csource_address;
    tap.statistics = registry_->statistics(slot);
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
    registry_->begin_removal(slots);
    return begin(Kind::remove, std::move(slots), now);
}

OperationId Tasking::update(std::span<const NewTerms> changes, Now now) {
    std::vector<lib::TapSlot> slots;
    slots.reserve(changes.size());
    bool same = true;
    for (const auto& [tap, terms] : changes) {
        same = same && same_service(tap->terms, terms);
        tap->state = TapState::updating;
        tap->next_terms = terms;
        tap->in_resync = false;
        slots.push_back(tap->slot);
    }
    if (!same) {
        return begin(Kind::update, std::move(slots), now);
    }
    const auto id = OperationId{next_operation_++};
    operations_.emplace(id, Pending{Kind::update, std::move(slots), now.boot, false});
    finish(id);
    return id;
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

lib::TapService Tasking::service(const Tap& tap, const TapTerms& terms) const {
    return service_of(terms, before(tap));
}

std::expected<void, std::string> Tasking::write_tap(lib::CommandBatch& batch, const Tap& tap) const {
    const auto& terms = tap.in_resync && tap.next_terms ? *tap.next_terms : tap.terms;
    return batch.add_tap(tap.slot, tap.id, tap.plan.criterion, tap.plan.destinations, service(tap, terms),
                         tap.plan.action);
}

bool Tasking::write(lib::CommandBatch& batch, const Pending& operation) {
    for (const auto slot : operation.slots) {
        const Tap& tap = *taps_.at(slot);
        switch (operation.kind) {
            case Kind::add:
                if (!write_tap(batch, tap)) {
                    return false;
                }
                break;
            case Kind::update:
                batch.update_tap(slot, tap.id, service(tap, *tap.next_terms));
                break;
            case Kind::remove:
            case Kind::expire:
                batch.remove_tap(slot, tap.id);
                break;
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
    // What waits becomes part of it: additions and new terms are written, removals left out.
    in_flight_.insert(in_flight_.end(), queued_.begin(), queued_.end());
    queued_.clear();
    for (const auto id : in_flight_) {
        for (const auto slot : operations_.at(id).slots) {
            taps_.at(slot)->in_resync = true;
        }
    }
    resync_.clear();
    resync_next_ = 0;
    resyncing_ = true;
    resync_wanted_ = false;
    resync_.reserve(taps_.size());
    for (std::uint32_t number = 0; number < taps_.slots(); ++number) {
        const Tap* const tap = taps_.at(lib::TapSlot{number});
        if (tap != nullptr && tap->state != TapState::deleting && tap->state != TapState::over) {
            resync_.push_back(tap->slot);
        }
    }
}

bool Tasking::fill_resync(lib::CommandBatch& batch, std::size_t records) {
    const std::size_t end = batch.records().size() + records;
    for (; resync_next_ < resync_.size() && batch.records().size() < end; ++resync_next_) {
        const Tap& tap = *taps_.at(resync_[resync_next_]);
        // What the codec and admit() let pass, the batch takes: else the ADD would have failed.
        [[maybe_unused]] const auto added = write_tap(batch, tap);
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
        const bool named =
            single || (resync && !of_sa &&
                       std::ranges::find(operation.slots, lib::TapSlot{slot}) != operation.slots.end());
        operation.alone = true;
        if ((operation.kind == Kind::add || operation.kind == Kind::update) && named) {
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
    Tap& tap = *taps_.at(slot);
    taps_.erase(tap);
    slots_.give_back(static_cast<std::uint32_t>(slot));
}

void Tasking::finish(OperationId id) {
    const auto node = operations_.extract(id);
    const auto& operation = node.mapped();
    if (operation.kind == Kind::add) {
        Tap& tap = *taps_.at(operation.slots.front());
        make_live(tap);
        outcomes_.push_back({id, Code::ok, static_cast<std::uint64_t>(tap.id)});
        return;
    }
    if (operation.kind == Kind::update) {
        finish_update(operation);
        outcomes_.push_back({id, Code::ok, operation.slots.size()});
        return;
    }
    registry_->remove(operation.slots);
    for (const auto slot : operation.slots) {
        Tap& tap = *taps_.at(slot);
        if (tap.end) {
            events_.push_back(std::move(*tap.end));
        } else {
            events_.push_back({TapEnd::removed,
                               tap.id,
                               tap.source,
                               tap.plan.send_async,
                               tap.plan.text->cdests,
                               specified(tap.terms),
                               {}});
        }
        forget(slot);
    }
    if (operation.kind == Kind::remove) {
        outcomes_.push_back({id, Code::ok, operation.slots.size()});
    }
}

void Tasking::finish_update(const Pending& operation) {
    std::vector<TermsChange> changes;
    changes.reserve(operation.slots.size());
    for (const auto slot : operation.slots) {
        Tap& tap = *taps_.at(slot);
        tap.terms = *tap.next_terms;
        tap.next_terms.reset();
        changes.push_back({slot, tap.terms});
        // It was told of the limits before. If these have stopped it too, it is told again.
        tap.told_over = false;
    }
    registry_->set_terms(changes);
    for (const auto slot : operation.slots) {
        make_live(*taps_.at(slot));
    }
}

/// A change of the tap has come to its end, well or not.
void Tasking::make_live(Tap& tap) {
    tap.state = TapState::live;
    // Over by a limit: at the next look.
    deadlines_.set(tap.slot, tap.told_over ? 0 : deadline(tap.terms, tap.statistics.active));
}

void Tasking::fail(OperationId id, Code code) {
    const auto node = operations_.extract(id);
    const auto& operation = node.mapped();
    if (operation.kind == Kind::add) {
        registry_->remove(operation.slots);
        forget(operation.slots.front());
    } else {
        if (operation.kind != Kind::update) {
            registry_->undo_removal(operation.slots);
        }
        for (const auto slot : operation.slots) {
            Tap& tap = *taps_.at(slot);
            tap.next_terms.reset();
            make_live(tap);
        }
    }
    if (operation.kind != Kind::expire) {
        outcomes_.push_back({id, code, 0});
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

}  // namespace flowtap::control
