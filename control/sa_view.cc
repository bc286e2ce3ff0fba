#include "control/sa_view.h"

#include "lib/suite.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace flowtap::control {

namespace {

using nlohmann::json;
using Association = Associations::Association;

std::uint64_t load(const lib::Counter& counter) {
    return counter.load(std::memory_order_relaxed);
}

std::string_view state_of(const Association& association, bool linked) {
    if (association.spent) {
        return "used up";
    }
    if (association.kept && linked) {
        return "in use";
    }
    if (!association.trouble.empty()) {
        return "refused";
    }
    return association.slot ? "next" : "waiting";
}

/// What is left of each hard lifetime; null where there is none.
json life_left(const Association& association) {
    auto left = json::object();
    for (std::size_t unit = 0; unit < lib::life_units.size(); ++unit) {
        const auto limit = association.sa.lifetimes.hard.values[unit];
        const auto used = association.used.values[unit];
        auto& shown = left[std::string{lib::life_units[unit]}];
        if (limit != lib::no_limit) {
            shown = association.spent || used >= limit ? 0 : limit - used;
        }
    }
    return left;
}

/// The one that seals; else the one that is about to, or could not.
const Association* present(const Associations& associations, std::uint16_t tunnel) {
    if (const auto* const sealing = associations.sealing(tunnel)) {
        return sealing;
    }
    const Association* found = nullptr;
    for (const auto& association : associations.all()) {
        if (association.tunnel != tunnel) {
            continue;
        }
        if (association.slot || !association.trouble.empty()) {
            return &association;
        }
        found = &association;
    }
    return found;
}

}  // namespace

json tunnel_view(const ViewSources& sources, std::uint16_t tunnel) {
    const auto* const status = sources.link.status();
    json view{{"name", sources.config.tunnels[tunnel].name}, {"security-associations", json::array()}};
    for (const auto& association : sources.associations.all()) {
        if (association.tunnel == tunnel) {
            view["security-associations"].push_back({{"spi", static_cast<std::uint32_t>(association.sa.spi)},
                                                     {"suite", lib::find_suite(association.sa.suite)->name},
                                                     {"state", state_of(association, status != nullptr)},
                                                     {"trouble", association.trouble},
                                                     {"left", life_left(association)}});
        }
    }
    const auto* const shown = present(sources.associations, tunnel);
    if (shown == nullptr) {
        return view;
    }
    view["spi"] = static_cast<std::uint32_t>(shown->sa.spi);
    view["suite"] = lib::find_suite(shown->sa.suite)->name;
    std::uint64_t next = 0;
    std::uint64_t end = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    if (status != nullptr && shown->slot) {
        const auto slot = static_cast<std::size_t>(*shown->slot);
        next = load(status->status().manager.sa_next[slot]);
        end = load(status->status().manager.sa_lease_end[slot]);
        for (std::size_t worker = 0; worker < status->shape().worker_count; ++worker) {
            const auto& sealed = status->status().workers[worker].sas[slot];
            packets += load(sealed[lib::SaCounter::sealed_packets]);
            bytes += load(sealed[lib::SaCounter::sealed_bytes]);
        }
        const auto& slow_path = status->status().slow_path.sas[slot];
        packets += load(slow_path[lib::SaCounter::sealed_packets]);
        bytes += load(slow_path[lib::SaCounter::sealed_bytes]);
    }
    view["state"] = shown->kept && !shown->leaving && status != nullptr ? "up"
                    : !shown->trouble.empty()                           ? "refused"
                                                                        : "down";
    view["trouble"] = shown->trouble;
    view["sealed-packets"] = packets;
    view["sealed-bytes"] = bytes;
    view["lease-remaining"] = end > next ? end - next : 0;
    view["sequence-remaining"] = next != 0 && shown->space().end > next ? shown->space().end - next : 0;
    return view;
}

}  // namespace flowtap::control
