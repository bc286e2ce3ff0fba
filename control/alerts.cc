#include "control/alerts.h"

#include <algorithm>
#include <set>
#include <span>
#include <utility>

namespace flowtap::control {

Alerts::Alerts(const lib::Config& config, Tasking& tasking, Notifier& notifier, ServiceCounters& counters)
    : tasking_{tasking}, notifier_{notifier}, counters_{counters} {
    for (const auto& destination : config.destinations) {
        if (destination.soft_limit || destination.hard_limit) {
            limited_.push_back({&destination});
        }
    }
}

void Alerts::ended(const std::vector<TapEvent>& events, Now now) {
    std::map<std::pair<SourceIndex, std::string>, std::vector<std::uint64_t>> purged;
    for (const auto& event : events) {
        const auto purge = purged_.extract(event.id);
        if (event.end == TapEnd::removed) {
            if (!purge.empty()) {
                counters_.add(ServiceCounter::taps_purged);
                purged[{event.source, purge.mapped().cdest}].push_back(static_cast<std::uint64_t>(event.id));
            }
        } else if (event.send_async) {
            notifier_.notify(event.source,
                             lib::dtcp::TimeoutNotification{static_cast<std::uint64_t>(event.id),
                                                            event.specified, event.remaining},
                             now);
        }
    }
    for (const auto& [whose, ids] : purged) {
        std::span<const std::uint64_t> rest = ids;
        while (!rest.empty()) {
            const auto part = rest.first(std::min(rest.size(), most_purged_ids));
            notifier_.notify(whose.first, lib::dtcp::PurgedNotification{whose.second, part}, now);
            rest = rest.subspan(part.size());
        }
    }
}

void Alerts::asked(const std::vector<NoopEvent>& noops, Now now) {
    for (const auto& noop : noops) {
        notifier_.notify(noop.source, lib::dtcp::NoopNotification{}, now);
    }
}

const std::string* Alerts::name_of(const Tap& tap, const lib::DestinationConfig& destination) {
    const auto& places = tap.plan.destinations;
    for (std::size_t i = 0; i < places.size(); ++i) {
        if (places[i].dest_port == destination.port && places[i].family == destination.address.family &&
            places[i].dest_address == destination.address.bytes) {
            return &tap.plan.text->cdests.at(i);
        }
    }
    return nullptr;
}

void Alerts::begin() {
    if (begun_ || !tasking_.started()) {
        return;
    }
    begun_ = true;
    for (std::uint32_t number = 0; number < tasking_.taps().slots(); ++number) {
        if (const Tap* const tap = tasking_.taps().at(lib::TapSlot{number}); tap != nullptr) {
            const auto& statistics = tap->statistics;
            lost_[tap->slot] = {tap->id, statistics.before.copies_dropped + statistics.seen.copies_dropped,
                                statistics.before.dropped_bytes + statistics.seen.dropped_bytes};
        }
    }
}

void Alerts::report_lost(const Tap& tap, const TapTotals& totals, Now now) {
    auto& lost = lost_[tap.slot];
    if (lost.id != tap.id) {
        lost = Lost{tap.id};
    }
    if (totals.copies_dropped <= lost.packets) {
        return;
    }
    const auto bytes = totals.dropped_bytes - std::min(lost.bytes, totals.dropped_bytes);
    notifier_.notify(
        tap.source,
        lib::dtcp::DroppedNotification{tap.plan.text->cdest_ids, static_cast<std::uint64_t>(tap.id),
                                       totals.copies_dropped - lost.packets, bytes},
        now);
    lost.packets = totals.copies_dropped;
    lost.bytes = totals.dropped_bytes;
}

/// Over the whole window: what a new tap has carried for a moment is no average over a limit.
Bandwidth Alerts::load_of(const Tap& tap, const TapTotals& totals, Now now) const {
    const auto average = tasking_.bandwidth(tap, totals, now);
    const auto life = now.boot - std::min(now.boot, tap.added_boot);
    const double part = std::min(static_cast<double>(life) / static_cast<double>(Meters::window), 1.0);
    return static_cast<Bandwidth>(static_cast<double>(average) * part);
}

void Alerts::tick(Now now) {
    if (!tasking_.started()) {
        return;
    }
    begin();
    std::vector<std::vector<LoadedTap>> loads(limited_.size());
    for (const auto slot : tasking_.carrying()) {
        const Tap* const tap = tasking_.taps().at(slot);
        if (tap == nullptr || tap->state != TapState::live) {
            continue;
        }
        const auto totals = tasking_.totals(*tap);
        report_lost(*tap, totals, now);
        for (std::size_t i = 0; i < limited_.size(); ++i) {
            const bool sends = tap->plan.action != lib::TapAction::block;
            if (sends && name_of(*tap, *limited_[i].config) != nullptr) {
                loads[i].push_back({slot, tap->plan.priority, tap->added_boot, load_of(*tap, totals, now)});
            }
        }
    }
    std::erase_if(lost_, [&](const auto& entry) {
        const Tap* const tap = tasking_.taps().at(entry.first);
        return tap == nullptr || tap->id != entry.second.id;
    });
    // A deletion that failed leaves the tap as it was.
    std::erase_if(purged_, [&](const auto& entry) {
        const Tap* const tap = tasking_.taps().at(entry.second.slot);
        return tap == nullptr || tap->id != entry.first || tap->state == TapState::live;
    });
    for (std::size_t i = 0; i < limited_.size(); ++i) {
        judge(limited_[i], loads[i], now);
    }
}

void Alerts::judge(Limited& limited, const std::vector<LoadedTap>& taps, Now now) {
    Bandwidth average = 0;
    for (const auto& tap : taps) {
        average += tap.average;
    }
    const auto& config = *limited.config;
    if (config.soft_limit && limited.soft.passed(average, *config.soft_limit)) {
        warn(limited, average, now);
    }
    if (config.hard_limit && average > *config.hard_limit) {
        purge(limited, choose_purge(taps, *config.hard_limit), now);
    }
}

/// To everybody with a tap to the destination, whether it carries anything or not.
void Alerts::warn(const Limited& limited, Bandwidth average, Now now) {
    std::set<std::pair<SourceIndex, std::string>> told;
    for (std::uint32_t number = 0; number < tasking_.taps().slots(); ++number) {
        const Tap* const tap = tasking_.taps().at(lib::TapSlot{number});
        if (tap == nullptr || (tap->state != TapState::live && tap->state != TapState::deleting)) {
            continue;
        }
        const auto* const name = name_of(*tap, *limited.config);
        if (name != nullptr && told.emplace(tap->source, *name).second) {
            notifier_.notify(tap->source,
                             lib::dtcp::CongestionNotification{*name, average, *limited.config->soft_limit,
                                                               limited.config->hard_limit.value_or(0)},
                             now);
        }
    }
}

void Alerts::purge(const Limited& limited, const std::vector<lib::TapSlot>& slots, Now now) {
    std::map<SourceIndex, std::vector<Tap*>> by_source;
    for (const auto slot : slots) {
        Tap* const tap = tasking_.taps().at(slot);
        by_source[tap->source].push_back(tap);
        purged_[tap->id] = {slot, *name_of(*tap, *limited.config)};
    }
    for (const auto& [source, taps] : by_source) {
        static_cast<void>(tasking_.remove(taps, now));
    }
}

}  // namespace flowtap::control
