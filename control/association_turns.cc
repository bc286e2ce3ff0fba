// Associations: whose turn it is, and what becomes of lifetimes.
#include "control/associations.h"

#include <fmt/format.h>

#include <algorithm>

namespace flowtap::control {

namespace {

/// A restart of either process costs at most one of so many parts of a lifetime in bytes, and a clock that
/// was set back one of a lifetime in seconds.
constexpr std::uint64_t record_parts = 64;
constexpr std::uint64_t longest_record_pause = 60;  // seconds
constexpr std::uint64_t longest_age = std::uint64_t{1} << 32;

std::int64_t born_before(Now now, std::uint64_t seconds) {
    return static_cast<std::int64_t>(now.boot) -
           static_cast<std::int64_t>(std::min(seconds, longest_age) * nanoseconds_per_second);
}

/// By the workers and the slow path: one key.
std::uint64_t encrypted_bytes(const lib::StatusView& status, lib::SaSlot slot) {
    const auto shown = [slot](const auto& sas) {
        return sas[static_cast<std::size_t>(slot)][lib::SaCounter::encrypted_bytes].load(
            std::memory_order_relaxed);
    };
    std::uint64_t sum = shown(status.status().slow_path.sas);
    for (std::size_t worker = 0; worker < status.shape().worker_count; ++worker) {
        sum += shown(status.status().workers[worker].sas);
    }
    return sum;
}

std::uint64_t age(std::int64_t born, Now now) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(now.boot) - born) / nanoseconds_per_second;
}

std::string name_of(const lib::Config& config, const Associations::Association& association) {
    return fmt::format("tunnel \"{}\": SPI {:#x}", config.tunnels[association.tunnel].name,
                       static_cast<std::uint32_t>(association.sa.spi));
}

std::string_view to_string(lib::LifeUnit unit) {
    return lib::life_units[static_cast<std::size_t>(unit)];
}

}  // namespace

void Associations::begin(const std::vector<KeyUse>& uses, Now now) {
    for (std::size_t place = 0; place < all_.size() && place < uses.size(); ++place) {
        auto& association = all_[place];
        const auto& use = uses[place];
        association.used = use.span;
        association.spent = use.spent;
        association.recorded_bytes = use.span[lib::LifeUnit::bytes];
        association.recorded_seconds = use.span[lib::LifeUnit::seconds];
        if (use.begun) {
            association.born = born_before(now, association.recorded_seconds);
        }
    }
}

/// There are two only when control died while one took over: the newer one seals then.
const Associations::Association* Associations::sealing(std::uint16_t tunnel) const {
    const Association* newest = nullptr;
    for (const auto& association : all_) {
        if (association.tunnel == tunnel && association.kept && !association.leaving &&
            (newest == nullptr || association.born >= newest->born)) {
            newest = &association;
        }
    }
    return newest;
}

Associations::Association* Associations::sealing_in(std::uint16_t tunnel) {
    return const_cast<Association*>(sealing(tunnel));
}

bool Associations::is_coming(std::uint16_t tunnel) const {
    return std::ranges::any_of(all_, [&](const Association& association) {
        return association.tunnel == tunnel && association.slot && !association.kept;
    });
}

/// The first after the one that seals, in a circle: a key that was used up may have been replaced meanwhile.
/// Where nothing seals, one at the end of its life is better than none.
std::optional<std::size_t> Associations::next_in_line(std::uint16_t tunnel) const {
    const auto* const present = sealing(tunnel);
    std::optional<std::size_t> old;
    const std::size_t first = present == nullptr ? 0 : static_cast<std::size_t>(present - all_.data()) + 1;
    for (std::size_t step = 0; step < all_.size(); ++step) {
        const std::size_t place = (first + step) % all_.size();
        const auto& association = all_[place];
        if (association.tunnel != tunnel || association.kept || association.spent ||
            association.passed_over || association.refused) {
            continue;
        }
        const auto stage = association.verdict().stage;
        if (stage == LifeStage::fresh) {
            return place;
        }
        if (stage == LifeStage::soft && present == nullptr && !old) {
            old = place;
        }
    }
    return old;
}

void Associations::call(std::uint16_t tunnel, const lib::StatusView& status, const Registry& registry,
                        Needs& needs) {
    const auto place = next_in_line(tunnel);
    if (!place) {
        return;
    }
    auto& association = all_[*place];
    for (std::uint32_t number = 0; number < lib::max_sas; ++number) {
        const auto slot = lib::SaSlot{number};
        const auto shown = status.status().manager.sa_lease_end[number].load(std::memory_order_relaxed);
        const bool taken =
            std::ranges::any_of(all_, [&](const Association& other) { return other.slot == slot; });
        if (shown == 0 && !taken) {
            association.slot = slot;
            association.wanted = true;
            needs.push_back(need_of(*place, association, registry));
            return;
        }
    }
    association.trouble = "no slot is free in the dataplane";
    association.passed_over = true;
}

void Associations::start_counting(Association& association, const lib::StatusView& status, Now now) {
    association.born = association.born.value_or(static_cast<std::int64_t>(now.boot));
    association.bytes_before = association.used[lib::LifeUnit::bytes];
    association.counted_from = encrypted_bytes(status, *association.slot);
}

void Associations::measure(Association& association, const lib::StatusView& status, Now now) {
    const auto slot = static_cast<std::size_t>(*association.slot);
    // It shows a moment after the commit, and is 0 until then.
    if (const auto next = status.status().manager.sa_next[slot].load(std::memory_order_relaxed); next != 0) {
        association.used[lib::LifeUnit::packets] = next - 1;
    }
    const auto counted = encrypted_bytes(status, *association.slot);
    association.used[lib::LifeUnit::bytes] =
        association.bytes_before + counted - std::min(counted, association.counted_from);
    association.used[lib::LifeUnit::seconds] = age(*association.born, now);
}

/// Bytes ahead of their use, seconds as they pass.
void Associations::record_use(Association& association) {
    const auto& hard = association.sa.lifetimes.hard;
    bool due = false;
    if (const auto limit = hard[lib::LifeUnit::bytes]; limit != lib::no_limit) {
        const auto part = limit / record_parts + 1;
        const auto used = association.used[lib::LifeUnit::bytes];
        if (used + part / 2 > association.recorded_bytes) {
            association.recorded_bytes = used + part;
            due = true;
        }
    }
    if (const auto limit = hard[lib::LifeUnit::seconds]; limit != lib::no_limit) {
        const auto pause = std::clamp<std::uint64_t>(limit / record_parts, 1, longest_record_pause);
        const auto used = association.used[lib::LifeUnit::seconds];
        if (used >= association.recorded_seconds + pause) {
            association.recorded_seconds = used;
            due = true;
        }
    }
    if (due) {
        records_.push_back({association.digest, association.used[lib::LifeUnit::seconds],
                            association.recorded_bytes, association.spent});
    }
}

void Associations::spend(Association& association) {
    association.spent = true;
    records_.push_back({association.digest, association.used[lib::LifeUnit::seconds],
                        std::max(association.used[lib::LifeUnit::bytes], association.recorded_bytes), true});
}

/// A lease that is still to come is skipped: none must be granted to a slot that is being left.
void Associations::retire(Association& association) {
    association.leaving = true;
    association.wanted = false;
    association.lease.reset();
    association.trouble.clear();
    spend(association);
}

/// It is live in every worker: what sealed before it goes.
void Associations::succeed(std::size_t place) {
    for (std::size_t other = 0; other < all_.size(); ++other) {
        auto& association = all_[other];
        if (other != place && association.tunnel == all_[place].tunnel && association.kept &&
            !association.leaving) {
            retire(association);
        }
    }
    events_.push_back({place, std::nullopt});
}

/// Of those whose turn has not come after all.
void Associations::forget_troubles(std::uint16_t tunnel) {
    const auto* const present = sealing(tunnel);
    for (auto& association : all_) {
        if (association.tunnel == tunnel && &association != present && !association.slot &&
            !association.refused) {
            association.trouble.clear();
            association.passed_over = false;
        }
    }
}

Associations::Needs Associations::look(const lib::StatusView& status, const Registry& registry, Now now) {
    for (std::size_t place = 0; place < all_.size(); ++place) {
        auto& association = all_[place];
        if (association.spent) {
            continue;
        }
        if (association.kept) {
            measure(association, status, now);
            record_use(association);
        } else if (association.born) {
            association.used[lib::LifeUnit::seconds] = age(*association.born, now);
        }
        if (const auto verdict = association.verdict(); verdict.stage == LifeStage::over) {
            if (association.kept) {
                retire(association);
            } else if (!association.slot) {
                spend(association);
            } else {
                continue;  // on its way into the dataplane: it is looked at again there
            }
            events_.push_back({place, verdict.unit});
        }
    }
    Needs needs;
    for (std::uint16_t tunnel = 0; tunnel < tunnels_; ++tunnel) {
        const auto* const present = sealing(tunnel);
        const bool due =
            present == nullptr || present->verdict().stage != LifeStage::fresh || !present->trouble.empty();
        if (!due) {
            forget_troubles(tunnel);
        } else if (!is_coming(tunnel)) {
            call(tunnel, status, registry, needs);
        }
    }
    return needs;
}

std::vector<std::string> Associations::alarms(const lib::Config& config, bool linked) const {
    std::vector<std::string> sentences;
    for (std::uint16_t tunnel = 0; linked && tunnel < tunnels_; ++tunnel) {
        const auto* const present = sealing(tunnel);
        if (present == nullptr) {
            sentences.push_back(
                fmt::format("tunnel \"{}\" has no security association that may be used: its copies are lost",
                            config.tunnels[tunnel].name));
        } else if (const auto verdict = present->verdict();
                   verdict.stage != LifeStage::fresh && !is_coming(tunnel) && !next_in_line(tunnel)) {
            sentences.push_back(
                fmt::format("{}: its soft lifetime in {} is over, and no other security "
                            "association follows",
                            name_of(config, *present), to_string(*verdict.unit)));
        }
    }
    for (const auto& association : all_) {
        if (!association.trouble.empty()) {
            sentences.push_back(fmt::format("{}: {}", name_of(config, association), association.trouble));
        }
    }
    return sentences;
}

std::vector<std::string> Associations::take_events(const lib::Config& config) {
    std::vector<std::string> sentences;
    for (const auto& event : std::exchange(events_, {})) {
        const auto& association = all_[event.place];
        sentences.push_back(event.over
                                ? fmt::format("{}: its hard lifetime in {} is over: it is not used again",
                                              name_of(config, association), to_string(*event.over))
                                : fmt::format("{}: seals from now on", name_of(config, association)));
    }
    return sentences;
}

}  // namespace flowtap::control
