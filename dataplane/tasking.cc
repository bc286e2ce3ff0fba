#include "dataplane/tasking.h"

#include <algorithm>
#include <new>
#include <utility>

namespace flowtap::dataplane {
namespace {

/// Changes, or slots, in one step: well under a millisecond of work.
constexpr std::size_t step = 256;
constexpr std::size_t sweep_step = 65'536;

lib::Refusal refusal_of(match::StageError error) {
    using match::StageError;
    switch (error) {
        case StageError::slot_out_of_range:
        case StageError::unknown_slot:
            return lib::Refusal::unknown_slot;
        case StageError::slot_in_use:
            return lib::Refusal::slot_in_use;
        case StageError::no_memory:
            return lib::Refusal::no_memory;
        case StageError::bad_criterion:
            break;
    }
    return lib::Refusal::malformed_record;
}

std::uint32_t slot_of(const lib::Change& change) {
    struct Slot {
        std::uint32_t operator()(const lib::ResyncBegin&) const { return 0; }
        std::uint32_t operator()(const lib::TapAdd& tap) const {
            return static_cast<std::uint32_t>(tap.slot);
        }
        std::uint32_t operator()(const lib::TapUpdated& tap) const {
            return static_cast<std::uint32_t>(tap.slot);
        }
        std::uint32_t operator()(const lib::TapRemove& tap) const {
            return static_cast<std::uint32_t>(tap.slot);
        }
        std::uint32_t operator()(const lib::SaInstall& sa) const { return sa.header.slot; }
        std::uint32_t operator()(const lib::SaLease& lease) const { return lease.header.slot; }
        std::uint32_t operator()(const lib::SaRemove& sa) const {
            return static_cast<std::uint32_t>(sa.slot);
        }
    };
    return std::visit(Slot{}, change);
}

template <typename... Functions>
struct Overload : Functions... {
    using Functions::operator()...;
};

}  // namespace

Tasking::Tasking(const Parts& parts) : parts_(parts), installed_(parts.config.dataplane.max_taps) {}

void Tasking::begin(lib::Batch batch) {
    batch_ = std::move(batch);
    next_ = 0;
    resync_ = !batch_.changes.empty() && std::holds_alternative<lib::ResyncBegin>(batch_.changes.front());
    if (resync_) {
        named_.assign(installed_.size(), false);
        parts_.sas.stage_resync();
    }
    phase_ = Phase::staging;
}

std::optional<Tasking::Outcome> Tasking::advance() {
    switch (phase_) {
        case Phase::idle:
            return std::nullopt;
        case Phase::staging:
            return stage_some();
        case Phase::sweeping:
            return sweep_some();
        case Phase::publishing:
            return publish();
        case Phase::settling:
            return settle();
    }
    return std::nullopt;
}

std::optional<Tasking::Outcome> Tasking::stage_some() {
    const std::size_t end = std::min(batch_.changes.size(), next_ + step);
    for (; next_ < end; ++next_) {
        lib::Change& change = batch_.changes[next_];
        if (const lib::Refusal refusal = stage(change); refusal != lib::Refusal::none) {
            return refuse(refusal, slot_of(change));
        }
    }
    if (next_ == batch_.changes.size()) {
        next_ = 0;
        phase_ = resync_ ? Phase::sweeping : Phase::publishing;
    }
    return std::nullopt;
}

lib::Refusal Tasking::stage(lib::Change& change) {
    return std::visit(
        Overload{
            [](const lib::ResyncBegin&) { return lib::Refusal::none; },
            [this](const lib::TapAdd& tap) { return stage_tap(tap); },
            [](const lib::TapUpdated&) { return lib::Refusal::malformed_record; },
            [this](const lib::TapRemove& tap) { return unstage(tap); },
            [this](const lib::SaInstall& sa) { return stage_sa(sa); },
            [this](const lib::SaLease& lease) { return parts_.sas.stage_lease(lease); },
            [this](const lib::SaRemove& sa) { return parts_.sas.stage_remove(sa.slot, sa.key_id); },
        },
        change);
}

lib::Refusal Tasking::stage_tap(const lib::TapAdd& tap) {
    const auto slot = static_cast<std::size_t>(tap.slot);
    if (slot >= installed_.size()) {
        return lib::Refusal::unknown_slot;
    }
    if (resync_) {
        if (named_[slot]) {
            return lib::Refusal::slot_in_use;
        }
        named_[slot] = true;
    }
    if (const auto& present = installed_[slot]) {
        if (!resync_) {
            return lib::Refusal::slot_in_use;
        }
        if (present->id != tap.id) {
            deferred_.push_back(next_);
        }
        return lib::Refusal::none;
    }
    auto copies = std::make_unique<TapCopies>();
    copies->id = tap.id;
    for (const lib::TapDestination& destination : tap.destinations) {
        copies->targets.push_back(resolve(destination, parts_.config.routes));
        copies->flows.push_back(flow_of(destination));
    }
    const auto staged = parts_.taps.stage_add(tap.slot, tap.id, tap.criterion, payload_of(*copies));
    if (!staged) {
        return refusal_of(staged.error());
    }
    added_.push_back({slot, std::move(copies)});
    return lib::Refusal::none;
}

lib::Refusal Tasking::unstage(const lib::TapRemove& tap) {
    if (const auto staged = parts_.taps.stage_remove(tap.slot, tap.id); !staged) {
        return refusal_of(staged.error());
    }
    const auto slot = static_cast<std::size_t>(tap.slot);
    if (!installed_[slot]) {
        return lib::Refusal::unknown_slot;  // added by this very batch: no use is made of that
    }
    removed_.push_back(slot);
    return lib::Refusal::none;
}

lib::Refusal Tasking::stage_sa(const lib::SaInstall& install) {
    const bool is_new = install.header.slot < lib::max_sas && !parts_.sas.occupied(install.header.slot);
    const lib::Refusal refusal = parts_.sas.stage_install(install);
    if (refusal == lib::Refusal::none && is_new) {
        new_sas_.push_back(install.header.slot);
    }
    return refusal;
}

Tasking::Outcome Tasking::refuse(lib::Refusal refusal, std::uint32_t slot) {
    parts_.taps.rollback();
    parts_.sas.rollback();
    added_.clear();
    removed_.clear();
    new_sas_.clear();
    deferred_.clear();
    batch_ = {};
    phase_ = Phase::idle;
    return {refusal, slot};
}

/// Of a resync: removes the taps that were not named, and those whose slot another one takes.
std::optional<Tasking::Outcome> Tasking::sweep_some() {
    const auto remove = [this](std::size_t slot) {
        const lib::TapSlot tap_slot{static_cast<std::uint32_t>(slot)};
        if (const auto staged = parts_.taps.stage_remove(tap_slot, installed_[slot]->id); !staged) {
            return refusal_of(staged.error());
        }
        removed_.push_back(slot);
        return lib::Refusal::none;
    };
    const std::size_t end = std::min(installed_.size(), next_ + sweep_step);
    for (; next_ < end; ++next_) {
        if (installed_[next_] && !named_[next_]) {
            if (const lib::Refusal refusal = remove(next_); refusal != lib::Refusal::none) {
                return refuse(refusal, static_cast<std::uint32_t>(next_));
            }
        }
    }
    if (next_ < installed_.size()) {
        return std::nullopt;
    }
    for (const std::size_t change : deferred_) {
        const std::uint32_t slot = slot_of(batch_.changes[change]);
        if (const lib::Refusal refusal = remove(slot); refusal != lib::Refusal::none) {
            return refuse(refusal, slot);
        }
    }
    phase_ = Phase::publishing;
    return std::nullopt;
}

bool Tasking::add_flows() {
    for (std::size_t i = 0; i < added_.size(); ++i) {
        const TapCopies& copies = *added_[i].copies;
        for (std::size_t k = 0; k < copies.flows.size(); ++k) {
            if (parts_.own_flows.add_encapsulation(copies.flows[k])) {
                continue;
            }
            for (const FlowKey& flow : std::span(copies.flows).first(k)) {
                parts_.own_flows.remove_encapsulation(flow);
            }
            for (const Placed& placed : std::span(added_).first(i)) {
                remove_flows(*placed.copies);
            }
            return false;
        }
    }
    return true;
}

void Tasking::remove_flows(const TapCopies& copies) {
    for (const FlowKey& flow : copies.flows) {
        parts_.own_flows.remove_encapsulation(flow);
    }
}

void Tasking::clear_counters(std::size_t slot) {
    for (std::size_t worker = 0; worker < parts_.status.shape().worker_count; ++worker) {
        for (lib::Counter& counter : parts_.status.taps(worker)[slot].values) {
            counter.store(0, std::memory_order_relaxed);
        }
    }
}

std::optional<Tasking::Outcome> Tasking::publish() {
    if (!add_flows()) {
        return refuse(lib::Refusal::no_memory, 0);
    }
    for (const std::size_t slot : removed_) {
        leaving_.push_back(std::move(installed_[slot]));
    }
    for (Placed& placed : added_) {
        clear_counters(placed.slot);
        installed_[placed.slot] = std::move(placed.copies);
    }
    for (const std::size_t slot : new_sas_) {
        for (lib::WorkerStatus& worker : parts_.status.status().workers) {
            for (lib::Counter& counter : worker.sas[slot].values) {
                counter.store(0, std::memory_order_relaxed);
            }
        }
    }
    sa_removals_ = parts_.sas.publish_additions();
    period_ = parts_.taps.commit();
    added_.clear();
    removed_.clear();
    new_sas_.clear();
    phase_ = Phase::settling;
    return std::nullopt;
}

std::optional<Tasking::Outcome> Tasking::settle() {
    if (!parts_.quiescence.passed(period_)) {
        return std::nullopt;
    }
    for (const auto& copies : leaving_) {
        remove_flows(*copies);
    }
    leaving_.clear();
    if (std::exchange(sa_removals_, false)) {
        parts_.sas.publish_removals();
        period_ = parts_.quiescence.next_period();
        return std::nullopt;
    }
    if (!deferred_.empty()) {
        resync_ = false;  // their slots are free now: these are plain additions
        for (const std::size_t change : std::exchange(deferred_, {})) {
            const auto& tap = std::get<lib::TapAdd>(batch_.changes[change]);
            if (const lib::Refusal refusal = stage_tap(tap); refusal != lib::Refusal::none) {
                return refuse(refusal, static_cast<std::uint32_t>(tap.slot));
            }
        }
        phase_ = Phase::publishing;
        return std::nullopt;
    }
    batch_ = {};
    phase_ = Phase::idle;
    return Outcome{};
}

void Tasking::reclaim() {
    parts_.taps.reclaim();
    parts_.own_flows.reclaim();
    parts_.sas.reclaim();
}

}  // namespace flowtap::dataplane
