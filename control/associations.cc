#include "control/associations.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <set>
#include <utility>

namespace flowtap::control {

namespace {

/// Holds the key: the caller wipes it.
void write_record(const ConfiguredSa& configured, lib::SaInstall& record) {
    const auto& sa = configured.sa;
    record.spi = static_cast<std::uint32_t>(sa.spi);
    record.tunnel = configured.tunnel;
    record.suite = sa.suite;
    record.key_size = static_cast<std::uint8_t>(sa.key.size());
    record.extended_sequence = sa.extended_sequence ? 1 : 0;
    record.udp_encapsulation = sa.udp_encapsulation ? 1 : 0;
    record.padded_length = sa.padded_length;
    std::ranges::copy(sa.key.bytes(), record.key.begin());
}

}  // namespace

Associations::Associations(ConfiguredSas configured) {
    for (auto& sa : configured.sealing) {
        tunnels_ = std::max(tunnels_, static_cast<std::uint16_t>(sa.tunnel + 1));
        static_cast<ConfiguredSa&>(all_.emplace_back()) = std::move(sa);
    }
    for (auto& sa : configured.opening) {
        static_cast<ConfiguredSa&>(inbound_.emplace_back()) = std::move(sa);
    }
}

Associations::Need Associations::need_of(std::size_t place, const Association& association,
                                         const Registry& registry) {
    return {place, association.digest, registry.granted(association.digest), association.space()};
}

Associations::Needs Associations::begin_link(const lib::StatusView& status, Registry& registry, Now now) {
    in_flight_.clear();
    for (auto& inbound : inbound_) {
        inbound.trouble.clear();
    }
    std::set<lib::SaSlot> taken;
    for (auto& association : all_) {
        association.slot.reset();
        association.lease.reset();
        association.end = 0;
        association.kept = false;
        association.wanted = false;
        association.leaving = false;
        association.refused = false;
        association.passed_over = false;
        association.trouble.clear();
        for (std::uint32_t number = 0; number < lib::max_sas && !association.slot && !association.spent;
             ++number) {
            const auto slot = lib::SaSlot{number};
            const auto grant = registry.grant(slot);
            const auto end = status.status().manager.sa_lease_end[number].load(std::memory_order_relaxed);
            if (grant.sa_id == association.id && grant.epoch == status.epoch() && end > 1 &&
                end <= grant.end && taken.insert(slot).second) {
                association.slot = slot;
                association.end = end;
                association.kept = true;
                start_counting(association, status, now);
            }
        }
    }
    Needs needs;
    for (std::uint16_t tunnel = 0; tunnel < tunnels_; ++tunnel) {
        // Of two the newer one was about to take over, or had: it seals already, and the resync leaves the
        // other out.
        const auto* const present = sealing_in(tunnel);
        for (auto& association : all_) {
            if (association.tunnel == tunnel && association.kept && &association != present) {
                association.kept = false;
                association.slot.reset();
                spend(association);
            }
        }
        if (present == nullptr) {
            call(tunnel, status, registry, needs);
        }
    }
    return needs;
}

Associations::Needs Associations::granted(std::size_t place,
                                          const std::expected<lib::Lease, std::string>& lease,
                                          lib::Epoch epoch, const lib::StatusView& status,
                                          Registry& registry) {
    auto& association = all_[place];
    if (!association.wanted || !association.slot) {
        return {};  // asked for on a link that is gone: what was granted is skipped
    }
    association.wanted = false;
    if (lease) {
        association.trouble.clear();
        association.lease = *lease;
        registry.set_grant(*association.slot,
                           {association.digest, association.id, epoch, lease->first + lease->count});
        return {};
    }
    association.trouble = lease.error();
    association.passed_over = true;
    if (!association.kept) {
        association.slot.reset();
    }
    Needs needs;
    call(association.tunnel, status, registry, needs);
    return needs;
}

bool Associations::waiting() const {
    return std::ranges::any_of(all_, &Association::wanted);
}

void Associations::install(lib::CommandBatch& batch, const Association& association,
                           const lib::Lease& lease) {
    lib::SaInstall record;
    write_record(association, record);
    record.lease = lease;
    batch.install_sa(*association.slot, association.id, record);
    ::OPENSSL_cleanse(&record, sizeof(record));
}

void Associations::install(lib::CommandBatch& batch, const Inbound& inbound, lib::SaSlot slot) {
    lib::SaInstall record;
    write_record(inbound, record);
    record.direction = lib::SaDirection::opens;
    batch.install_sa(slot, inbound.id, record);
    ::OPENSSL_cleanse(&record, sizeof(record));
}

void Associations::fill_resync(lib::CommandBatch& batch, Registry& registry) {
    in_flight_.clear();
    for (std::uint32_t number = 0; number < lib::max_sas; ++number) {
        const auto slot = lib::SaSlot{number};
        const bool named = std::ranges::any_of(all_, [&](const Association& association) {
            return association.slot == slot && !association.leaving &&
                   (association.kept || association.lease);
        });
        if (auto grant = registry.grant(slot); !named && grant.epoch != lib::Epoch{}) {
            grant.epoch = {};  // about to be left out
            registry.set_grant(slot, grant);
        }
    }
    for (std::size_t place = 0; place < all_.size(); ++place) {
        const auto& association = all_[place];
        if (association.leaving) {
            in_flight_.push_back({place});
        } else if (association.kept) {
            install(batch, association, {association.end - 1, 1});
        } else if (association.lease) {
            install(batch, association, *association.lease);
            in_flight_.push_back({place, association.lease->first + association.lease->count});
        }
    }
    for (std::uint32_t number = 0; number < inbound_.size(); ++number) {
        if (inbound_[number].trouble.empty()) {
            install(batch, inbound_[number], lib::SaSlot{number});
        }
    }
}

std::optional<Associations::Need> Associations::lease_low(lib::SaSlot slot, const Registry& registry) {
    for (std::size_t place = 0; place < all_.size(); ++place) {
        auto& association = all_[place];
        if (association.slot == slot && !association.wanted && !association.lease && !association.leaving &&
            association.end < association.space().end) {
            association.wanted = true;
            return need_of(place, association, registry);
        }
    }
    return std::nullopt;
}

Associations::Needs Associations::retry(const lib::StatusView& status, const Registry& registry) {
    Needs needs;
    for (std::size_t place = 0; place < all_.size(); ++place) {
        auto& association = all_[place];
        association.passed_over = false;
        if (association.kept && !association.trouble.empty() && !association.wanted && !association.lease &&
            !association.leaving) {
            association.wanted = true;
            needs.push_back(need_of(place, association, registry));
        }
    }
    for (std::uint16_t tunnel = 0; tunnel < tunnels_; ++tunnel) {
        if (sealing(tunnel) == nullptr && !is_coming(tunnel)) {
            call(tunnel, status, registry, needs);
        }
    }
    return needs;
}

bool Associations::fill(lib::CommandBatch& batch, const lib::StatusView& status, Registry& registry) {
    if (!in_flight_.empty()) {
        return false;
    }
    for (std::size_t place = 0; place < all_.size(); ++place) {
        const auto& association = all_[place];
        if (association.leaving) {
            auto grant = registry.grant(*association.slot);
            grant.epoch = {};
            registry.set_grant(*association.slot, grant);
            batch.remove_sa(*association.slot, association.id);
            in_flight_.push_back({place});
            continue;
        }
        if (!association.lease) {
            continue;
        }
        const auto shown =
            status.status().manager.sa_lease_end[static_cast<std::size_t>(*association.slot)].load(
                std::memory_order_relaxed);
        // A block that was recorded and never arrived is skipped: the SA is installed anew behind it.
        if (association.kept && association.lease->first == std::max(shown, association.end)) {
            batch.extend_lease(*association.slot, association.id, *association.lease);
        } else {
            install(batch, association, *association.lease);
        }
        in_flight_.push_back({place, association.lease->first + association.lease->count});
    }
    return !in_flight_.empty();
}

void Associations::committed(const lib::StatusView& status, Now now) {
    for (const auto& [place, end] : std::exchange(in_flight_, {})) {
        auto& association = all_[place];
        if (end == 0) {
            association.leaving = false;
            association.kept = false;
            association.slot.reset();
            continue;
        }
        association.end = end;
        if (association.lease && association.lease->first + association.lease->count == end) {
            association.lease.reset();
        }
        if (!std::exchange(association.kept, true)) {
            start_counting(association, status, now);
            succeed(place);
        }
    }
}

void Associations::refused(lib::Refusal refusal, lib::SaSlot slot) {
    const bool of_key = refusal == lib::Refusal::bad_key || refusal == lib::Refusal::bad_lease;
    for (auto& association : all_) {
        if (of_key && association.slot == slot && !association.leaving) {
            association.trouble = "the dataplane refuses the key or its lease";
            association.slot.reset();
            association.lease.reset();
            association.kept = false;
            association.wanted = false;
            association.refused = true;
        }
    }
    if (const auto number = static_cast<std::size_t>(slot);
        of_key && number >= lib::max_sas && number - lib::max_sas < inbound_.size()) {
        inbound_[number - lib::max_sas].trouble = "the dataplane refuses the inbound key";
    }
    in_flight_.clear();
}

}  // namespace flowtap::control
