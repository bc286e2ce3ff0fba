#include "control/associations.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <set>
#include <utility>

namespace flowtap::control {

namespace {

/// Holds the key: the caller wipes it.
lib::SaInstall record_of(const ConfiguredSa& configured) {
    const auto& sa = configured.sa;
    lib::SaInstall record;
    record.spi = static_cast<std::uint32_t>(sa.spi);
    record.tunnel = configured.tunnel;
    record.suite = sa.suite;
    record.key_size = static_cast<std::uint8_t>(sa.key.size());
    record.extended_sequence = sa.extended_sequence ? 1 : 0;
    record.udp_encapsulation = sa.udp_encapsulation ? 1 : 0;
    record.padded_length = sa.padded_length;
    std::ranges::copy(sa.key.bytes(), record.key.begin());
    return record;
}

}  // namespace

Associations::Associations(ConfiguredSas configured) {
    for (auto& sa : configured.sealing) {
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

std::vector<Associations::Need> Associations::begin_link(const lib::StatusView& status, Registry& registry) {
    in_flight_.clear();
    for (auto& inbound : inbound_) {
        inbound.trouble.clear();
    }
    const auto shown = [&](std::uint32_t slot) {
        return status.status().manager.sa_lease_end[slot].load(std::memory_order_relaxed);
    };
    std::set<lib::SaSlot> taken;
    for (auto& association : all_) {
        association.slot.reset();
        association.lease.reset();
        association.end = 0;
        association.kept = false;
        association.wanted = false;
        for (std::uint32_t number = 0; number < lib::max_sas && !association.slot; ++number) {
            const auto slot = lib::SaSlot{number};
            const auto grant = registry.grant(slot);
            const auto end = shown(number);
            if (grant.sa_id == association.id && grant.epoch == status.epoch() && end > 1 &&
                end <= grant.end && taken.insert(slot).second) {
                association.slot = slot;
                association.end = end;
                association.kept = true;
            }
        }
    }
    std::vector<Need> needs;
    std::uint32_t number = 0;
    for (std::size_t place = 0; place < all_.size(); ++place) {
        auto& association = all_[place];
        if (association.kept) {
            continue;
        }
        while (number < lib::max_sas && (shown(number) != 0 || taken.contains(lib::SaSlot{number}))) {
            ++number;
        }
        if (number == lib::max_sas) {
            association.trouble = "no slot is free in the dataplane";
            continue;
        }
        association.slot = lib::SaSlot{number++};
        association.wanted = true;
        needs.push_back(need_of(place, association, registry));
    }
    return needs;
}

void Associations::granted(std::size_t place, const std::expected<lib::Lease, std::string>& lease,
                           lib::Epoch epoch, Registry& registry) {
    auto& association = all_[place];
    if (!association.wanted || !association.slot) {
        return;  // asked for on a link that is gone: what was granted is skipped
    }
    association.wanted = false;
    if (!lease) {
        association.trouble = lease.error();
        return;
    }
    association.trouble.clear();
    association.lease = *lease;
    registry.set_grant(*association.slot,
                       {association.digest, association.id, epoch, lease->first + lease->count});
}

bool Associations::waiting() const {
    return std::ranges::any_of(all_, &Association::wanted);
}

void Associations::install(lib::CommandBatch& batch, const Association& association,
                           const lib::Lease& lease) {
    lib::SaInstall record = record_of(association);
    record.lease = lease;
    batch.install_sa(*association.slot, association.id, record);
    ::OPENSSL_cleanse(&record, sizeof(record));
}

void Associations::install(lib::CommandBatch& batch, const Inbound& inbound, lib::SaSlot slot) {
    lib::SaInstall record = record_of(inbound);
    record.direction = lib::SaDirection::opens;
    batch.install_sa(slot, inbound.id, record);
    ::OPENSSL_cleanse(&record, sizeof(record));
}

void Associations::fill_resync(lib::CommandBatch& batch, Registry& registry) {
    for (std::uint32_t number = 0; number < lib::max_sas; ++number) {
        const auto slot = lib::SaSlot{number};
        const bool named = std::ranges::any_of(all_, [&](const Association& association) {
            return association.slot == slot && (association.kept || association.lease);
        });
        if (auto grant = registry.grant(slot); !named && grant.epoch != lib::Epoch{}) {
            grant.epoch = {};  // about to be left out
            registry.set_grant(slot, grant);
        }
    }
    for (std::size_t place = 0; place < all_.size(); ++place) {
        const auto& association = all_[place];
        if (association.kept) {
            install(batch, association, {association.end - 1, 1});
        } else if (association.lease) {
            install(batch, association, *association.lease);
            in_flight_.push_back(place);
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
        if (association.slot == slot && !association.wanted && !association.lease) {
            association.wanted = true;
            return need_of(place, association, registry);
        }
    }
    return std::nullopt;
}

std::vector<Associations::Need> Associations::retry(const Registry& registry) {
    std::vector<Need> needs;
    for (std::size_t place = 0; place < all_.size(); ++place) {
        auto& association = all_[place];
        if (association.slot && !association.trouble.empty() && !association.wanted && !association.lease) {
            association.wanted = true;
            needs.push_back(need_of(place, association, registry));
        }
    }
    return needs;
}

bool Associations::fill(lib::CommandBatch& batch, const lib::StatusView& status) {
    if (!in_flight_.empty()) {
        return false;
    }
    for (std::size_t place = 0; place < all_.size(); ++place) {
        const auto& association = all_[place];
        if (!association.lease) {
            continue;
        }
        const auto shown =
            status.status().manager.sa_lease_end[static_cast<std::size_t>(*association.slot)].load(
                std::memory_order_relaxed);
        // A block that was recorded and never arrived is skipped: the SA is installed anew behind it.
        if (association.lease->first == std::max(shown, association.end)) {
            batch.extend_lease(*association.slot, association.id, *association.lease);
        } else {
            install(batch, association, *association.lease);
        }
        in_flight_.push_back(place);
    }
    return !in_flight_.empty();
}

void Associations::committed() {
    for (const auto place : std::exchange(in_flight_, {})) {
        auto& association = all_[place];
        association.end = association.lease->first + association.lease->count;
        association.lease.reset();
        association.kept = true;
    }
}

void Associations::refused(lib::Refusal refusal, lib::SaSlot slot) {
    const bool of_key = refusal == lib::Refusal::bad_key || refusal == lib::Refusal::bad_lease;
    for (auto& association : all_) {
        if (of_key && association.slot == slot) {
            association.trouble = "the dataplane refuses the key or its lease";
            association.slot.reset();
            association.lease.reset();
            association.kept = false;
            association.wanted = false;
        }
    }
    if (const auto number = static_cast<std::size_t>(slot);
        of_key && number >= lib::max_sas && number - lib::max_sas < inbound_.size()) {
        inbound_[number - lib::max_sas].trouble = "the dataplane refuses the inbound key";
    }
    in_flight_.clear();
}

}  // namespace flowtap::control
