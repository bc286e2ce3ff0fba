#include "dataplane/tasking.h"

#include <algorithm>
#include <chrono>
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
        std::uint32_t operator()(const lib::SaInstall& sa) const {
            const bool opens = sa.direction == lib::SaDirection::opens;
            return sa.header.slot + (opens ? static_cast<std::uint32_t>(lib::max_sas) : 0);
        }
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

bool is_limited(const lib::TapService& service) {
    return service.packet_limit != lib::no_limit || service.byte_limit != lib::no_limit;
}

/// Of a tap that no worker has seen yet.
void set_terms(TapCopies& copies, const lib::TapService& service) {
    copies.usage = is_limited(service) ? std::make_unique<TapUsage>(true) : nullptr;
    copies.owned_terms =
        service == lib::TapService{}
            ? nullptr
            : std::make_unique<const TapTerms>(TapTerms{.service = service, .usage = copies.usage.get()});
    copies.terms.store(copies.owned_terms.get(), std::memory_order_relaxed);
}

bool has_account(const lib::Config& config, std::uint16_t account) {
    return account == lib::other_account || account < config.destinations.size();
}

/// Where the numbers of copies begin in this life (lib/shims.h): a later life begins later than this one can
/// have come, unless the clock is set back.
std::uint64_t life_number() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count()) << 32U;
}

lib::TapService service_of(const TapCopies& copies) {
    return copies.owned_terms != nullptr ? copies.owned_terms->service : lib::TapService{};
}

}  // namespace

Tasking::Tasking(const Parts& parts)
    : parts_(parts), places_(parts.config.dataplane.max_taps), first_number_(life_number()) {}

void Tasking::begin(lib::Batch batch) {
    batch_ = std::move(batch);
    next_ = 0;
    resync_ = !batch_.changes.empty() && std::holds_alternative<lib::ResyncBegin>(batch_.changes.front());
    whole_ = resync_;
    if (resync_) {
        named_.assign(places_.size(), false);
        parts_.sas.stage_resync();
        if (parts_.inbound != nullptr) {
            parts_.inbound->stage_resync();
        }
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
        case Phase::counting:
            return count();
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
        if (resync_) {
            phase_ = Phase::sweeping;
        } else {
            prepare();
        }
    }
    return std::nullopt;
}

lib::Refusal Tasking::stage(lib::Change& change) {
    return std::visit(Overload{
                          [](const lib::ResyncBegin&) { return lib::Refusal::none; },
                          [this](const lib::TapAdd& tap) { return stage_tap(tap); },
                          [this](const lib::TapUpdated& update) { return stage_update(update); },
                          [this](const lib::TapRemove& tap) { return unstage(tap); },
                          [this](const lib::SaInstall& sa) { return stage_sa(sa); },
                          [this](const lib::SaLease& lease) { return parts_.sas.stage_lease(lease); },
                          [this](const lib::SaRemove& sa) { return stage_removal(sa); },
                      },
                      change);
}

lib::Refusal Tasking::stage_tap(const lib::TapAdd& tap) {
    const auto slot = static_cast<std::size_t>(tap.slot);
    if (slot >= places_.size()) {
        return lib::Refusal::unknown_slot;
    }
    if ((tap.service.suppressed & ~parts_.policies.known()) != 0) {
        return lib::Refusal::malformed_record;
    }
    if (!std::ranges::all_of(tap.destinations, [this](const lib::TapDestination& destination) {
            return has_account(parts_.config, destination.account);
        })) {
        return lib::Refusal::malformed_record;
    }
    Place& place = places_[slot];
    if (resync_) {
        if (named_[slot]) {
            return lib::Refusal::slot_in_use;
        }
        named_[slot] = true;
    }
    if (place.live) {
        if (!resync_) {
            return lib::Refusal::slot_in_use;
        }
        if (place.live->id == tap.id) {
            stage_terms(slot, tap.service);
        } else {
            deferred_.push_back(next_);
            place.deferred = static_cast<std::uint32_t>(next_ + 1);
        }
        return lib::Refusal::none;
    }
    auto copies = std::make_unique<TapCopies>();
    copies->id = tap.id;
    copies->layer2 = tap.criterion.layer2;
    copies->action = tap.action;
    // A tap that blocks makes no packet: its destinations are what its source knows it by.
    for (const lib::TapDestination& destination : tap.action == lib::TapAction::block
                                                      ? std::span<const lib::TapDestination>{}
                                                      : std::span(tap.destinations)) {
        add_target(*copies, destination, tap.criterion, parts_.config.routes, first_number_);
        copies->targets.back().limited = destination.account != lib::other_account &&
                                         parts_.config.destinations[destination.account].rate_limit;
    }
    set_terms(*copies, tap.service);
    const auto staged = parts_.taps.stage_add(tap.slot, tap.id, tap.criterion, payload_of(*copies));
    if (!staged) {
        return refusal_of(staged.error());
    }
    added_.push_back(slot);
    place.staged = std::move(copies);
    return lib::Refusal::none;
}

lib::Refusal Tasking::stage_update(const lib::TapUpdated& update) {
    const auto slot = static_cast<std::size_t>(update.slot);
    if (slot >= places_.size()) {
        return lib::Refusal::unknown_slot;
    }
    if ((update.service.suppressed & ~parts_.policies.known()) != 0) {
        return lib::Refusal::malformed_record;
    }
    const Place& place = places_[slot];
    if (place.staged) {
        if (place.staged->id != update.id) {
            return lib::Refusal::unknown_slot;
        }
        set_terms(*place.staged, update.service);
        return lib::Refusal::none;
    }
    if (place.deferred != 0) {
        auto& tap = std::get<lib::TapAdd>(batch_.changes[place.deferred - 1]);
        if (tap.id != update.id) {
            return lib::Refusal::unknown_slot;
        }
        tap.service = update.service;
        return lib::Refusal::none;
    }
    if (!place.live || place.leaving || place.live->id != update.id) {
        return lib::Refusal::unknown_slot;
    }
    stage_terms(slot, update.service);
    return lib::Refusal::none;
}

/// Of a tap that is there; the last of a batch counts.
void Tasking::stage_terms(std::size_t slot, const lib::TapService& service) {
    TapCopies& copies = *places_[slot].live;
    if (!copies.staged_terms) {
        if (service == service_of(copies)) {
            return;
        }
        updated_.push_back(slot);
    }
    copies.staged_terms = std::make_unique<TapTerms>(TapTerms{.service = service});
}

lib::Refusal Tasking::unstage(const lib::TapRemove& tap) {
    if (const auto staged = parts_.taps.stage_remove(tap.slot, tap.id); !staged) {
        return refusal_of(staged.error());
    }
    const auto slot = static_cast<std::size_t>(tap.slot);
    if (!places_[slot].live) {
        return lib::Refusal::unknown_slot;  // added by this very batch: no use is made of that
    }
    places_[slot].leaving = true;
    removed_.push_back(slot);
    return lib::Refusal::none;
}

lib::Refusal Tasking::stage_sa(const lib::SaInstall& install) {
    if (install.direction == lib::SaDirection::opens) {
        return parts_.inbound != nullptr ? parts_.inbound->stage_install(install)
                                         : lib::Refusal::malformed_record;
    }
    const bool is_new = install.header.slot < lib::max_sas && !parts_.sas.occupied(install.header.slot);
    const lib::Refusal refusal = parts_.sas.stage_install(install);
    if (refusal == lib::Refusal::none && is_new) {
        new_sas_.push_back(install.header.slot);
    }
    return refusal;
}

/// The two directions have slots of their own, and no id twice.
lib::Refusal Tasking::stage_removal(const lib::SaRemove& removal) {
    const lib::Refusal refusal = parts_.sas.stage_remove(removal.slot, removal.key_id);
    return refusal == lib::Refusal::unknown_slot && parts_.inbound != nullptr
               ? parts_.inbound->stage_remove(removal.slot, removal.key_id)
               : refusal;
}

Tasking::Outcome Tasking::refuse(lib::Refusal refusal, std::uint32_t slot) {
    parts_.taps.rollback();
    parts_.sas.rollback();
    if (parts_.inbound != nullptr) {
        parts_.inbound->rollback();
    }
    for (const std::size_t place : added_) {
        places_[place].staged.reset();
    }
    for (const std::size_t place : removed_) {
        places_[place].leaving = false;
    }
    for (const std::size_t place : updated_) {
        places_[place].live->staged_terms.reset();
    }
    for (const std::size_t change : deferred_) {
        places_[slot_of(batch_.changes[change])].deferred = 0;
    }
    added_.clear();
    removed_.clear();
    updated_.clear();
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
        if (const auto staged = parts_.taps.stage_remove(tap_slot, places_[slot].live->id); !staged) {
            return refusal_of(staged.error());
        }
        places_[slot].leaving = true;
        removed_.push_back(slot);
        return lib::Refusal::none;
    };
    const std::size_t end = std::min(places_.size(), next_ + sweep_step);
    for (; next_ < end; ++next_) {
        if (places_[next_].live && !named_[next_]) {
            if (const lib::Refusal refusal = remove(next_); refusal != lib::Refusal::none) {
                return refuse(refusal, static_cast<std::uint32_t>(next_));
            }
        }
    }
    if (next_ < places_.size()) {
        return std::nullopt;
    }
    for (const std::size_t change : deferred_) {
        const std::uint32_t slot = slot_of(batch_.changes[change]);
        if (const lib::Refusal refusal = remove(slot); refusal != lib::Refusal::none) {
            return refuse(refusal, slot);
        }
    }
    prepare();
    return std::nullopt;
}

/// A tap with its first limit was counted by each worker for itself: from now on they count together, still
/// without a limit.
void Tasking::prepare() {
    phase_ = Phase::publishing;
    for (const std::size_t slot : updated_) {
        TapCopies& copies = *places_[slot].live;
        if (copies.usage || !is_limited(copies.staged_terms->service)) {
            continue;
        }
        copies.usage = std::make_unique<TapUsage>(false);
        auto terms = std::make_unique<TapTerms>(copies.owned_terms ? *copies.owned_terms : TapTerms{});
        terms->previous = nullptr;
        terms->usage = copies.usage.get();
        replace_terms(copies, std::move(terms));
        counting_.push_back(slot);
    }
    if (!counting_.empty()) {
        period_ = parts_.quiescence.next_period();
        phase_ = Phase::counting;
    }
}

/// When all workers count together, what they counted before is added; when they have seen that it is, the
/// limit may be obeyed.
std::optional<Tasking::Outcome> Tasking::count() {
    if (!parts_.quiescence.passed(period_)) {
        return std::nullopt;
    }
    leaving_terms_.clear();
    if (counting_.empty()) {
        phase_ = Phase::publishing;
        return std::nullopt;
    }
    for (const std::size_t slot : std::exchange(counting_, {})) {
        contribute(slot);
    }
    period_ = parts_.quiescence.next_period();
    return std::nullopt;
}

void Tasking::contribute(std::size_t slot) {
    for (std::size_t worker = 0; worker < parts_.status.shape().worker_count; ++worker) {
        const lib::TapCounters& counters = parts_.status.taps(worker)[slot];
        places_[slot].live->usage->contribute(
            static_cast<std::uint16_t>(worker),
            counters[lib::TapCounter::matched_packets].load(std::memory_order_relaxed),
            counters[lib::TapCounter::matched_bytes].load(std::memory_order_relaxed));
    }
}

void Tasking::replace_terms(TapCopies& copies, std::unique_ptr<const TapTerms> terms) {
    std::swap(copies.owned_terms, terms);
    copies.terms.store(copies.owned_terms.get(), std::memory_order_release);
    leaving_terms_.push_back(std::move(terms));
}

/// Workers see them now, and go by them from the next generation on.
void Tasking::publish_terms() {
    for (const std::size_t slot : updated_) {
        TapCopies& copies = *places_[slot].live;
        std::unique_ptr<TapTerms> terms = std::move(copies.staged_terms);
        const TapTerms* const before = copies.owned_terms.get();
        const bool raised = terms->service.byte_limit > service_of(copies).byte_limit;
        terms->since = parts_.taps.next_generation();
        terms->previous = before;
        terms->usage = copies.usage.get();
        terms->term = (before != nullptr ? before->term : 0) + (raised ? 1 : 0);
        replace_terms(copies, std::move(terms));
        touched_.push_back(slot);
    }
    updated_.clear();
}

bool Tasking::add_flows() {
    for (std::size_t i = 0; i < added_.size(); ++i) {
        const TapCopies& copies = *places_[added_[i]].staged;
        for (std::size_t k = 0; k < copies.flows.size(); ++k) {
            if (parts_.own_flows.add_encapsulation(copies.flows[k])) {
                continue;
            }
            for (const FlowKey& flow : std::span(copies.flows).first(k)) {
                parts_.own_flows.remove_encapsulation(flow);
            }
            for (const std::size_t slot : std::span(added_).first(i)) {
                remove_flows(*places_[slot].staged);
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
        for (lib::Counter& counter : parts_.status.losses(worker)[slot].values) {
            counter.store(0, std::memory_order_relaxed);
        }
    }
}

std::optional<Tasking::Outcome> Tasking::publish() {
    if (!add_flows()) {
        return refuse(lib::Refusal::no_memory, 0);
    }
    publish_terms();
    for (const std::size_t slot : removed_) {
        leaving_.push_back(std::move(places_[slot].live));
        places_[slot].leaving = false;
        over_.erase(slot);
    }
    for (const std::size_t slot : added_) {
        clear_counters(slot);
        parts_.stops.count(places_[slot].staged->action == lib::TapAction::copy ? 0 : 1);
        places_[slot].live = std::move(places_[slot].staged);
        if (places_[slot].live->usage) {
            touched_.push_back(slot);
        }
    }
    for (const std::size_t slot : new_sas_) {
        for (lib::WorkerStatus& worker : parts_.status.status().workers) {
            for (lib::Counter& counter : worker.sas[slot].values) {
                counter.store(0, std::memory_order_relaxed);
            }
        }
        for (lib::Counter& counter : parts_.status.status().slow_path.sas[slot].values) {
            counter.store(0, std::memory_order_relaxed);
        }
    }
    if (parts_.inbound != nullptr) {
        parts_.inbound->publish();
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
        parts_.stops.count(copies->action == lib::TapAction::copy ? 0 : -1);
    }
    leaving_.clear();
    leaving_terms_.clear();
    if (std::exchange(sa_removals_, false)) {
        parts_.sas.publish_removals();
        period_ = parts_.quiescence.next_period();
        return std::nullopt;
    }
    if (!deferred_.empty()) {
        resync_ = false;  // their slots are free now: these are plain additions
        const std::vector<std::size_t> deferred = std::exchange(deferred_, {});
        for (const std::size_t change : deferred) {
            places_[slot_of(batch_.changes[change])].deferred = 0;
        }
        for (const std::size_t change : deferred) {
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
    candidates_.insert(candidates_.end(), touched_.begin(), touched_.end());
    touched_.clear();
    if (whole_) {
        candidates_.insert(candidates_.end(), over_.begin(), over_.end());
    }
    return Outcome{};
}

std::vector<Tasking::OverTap> Tasking::take_over() {
    std::vector<OverTap> result;
    if (phase_ == Phase::settling) {
        return result;
    }
    parts_.over.take_all([this](std::size_t slot) { candidates_.push_back(slot); });
    std::ranges::sort(candidates_);
    const auto repeated = std::ranges::unique(candidates_);
    candidates_.erase(repeated.begin(), repeated.end());
    for (const std::size_t slot : candidates_) {
        const auto& copies = places_[slot].live;
        if (copies && copies->owned_terms && copies->owned_terms->over()) {
            over_.insert(slot);
            result.push_back({lib::TapSlot{static_cast<std::uint32_t>(slot)}, copies->id});
        } else {
            over_.erase(slot);
        }
    }
    candidates_.clear();
    return result;
}

void Tasking::reclaim() {
    parts_.taps.reclaim();
    parts_.own_flows.reclaim();
    parts_.sas.reclaim();
    if (parts_.inbound != nullptr) {
        parts_.inbound->reclaim();
    }
}

}  // namespace flowtap::dataplane
