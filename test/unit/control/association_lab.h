// Control's security associations with their medium, and a dataplane as lib/records.h says that it is.
#pragma once

#include "control/associations.h"
#include "control/lease_store.h"
#include "lib/command_reader.h"
#include "test/unit/control/scratch.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <variant>
#include <vector>

namespace flowtap::test {

using control::Associations;
using control::LeaseStore;
using control::Now;
using control::Registry;

inline constexpr std::uint32_t max_taps = 8;
inline constexpr std::int64_t today = 1'800'000'000;
/// More than any test needs: what asks or commits without an end is at fault.
inline constexpr std::size_t most_steps = 1000;

inline void write_sa(const std::filesystem::path& file, unsigned spi, char digit,
                     const std::string& more = "") {
    std::ofstream{file} << fmt::format("spi = {}\nsuite = \"aes-256-gcm-16\"\nkey = \"{}00000000\"\n{}", spi,
                                       digit + std::string{"123456789abcdef0"} + std::string(47, digit),
                                       more);
    ::chmod(file.c_str(), 0600);
}

inline lib::Config config_of(const Scratch& scratch) {
    lib::Config config;
    config.file = "test";
    config.tunnels = {{"one", {}, {}, {scratch / "one"}}, {"two", {}, {}, {scratch / "two"}}};
    return config;
}

/// A dataplane as lib/records.h says that it is: what it has of SAs, and each value that it may seal with.
struct Dataplane {
    struct Sa {
        std::uint64_t id = 0;
        std::uint64_t next = 0;
        std::uint64_t end = 0;
        std::uint32_t tunnel = 0;
        std::uint64_t order = 0;
    };

    explicit Dataplane(std::uint64_t number)
        : region{lib::StatusRegion::create({max_taps, 1}, lib::Epoch{number}).value()},
          view{lib::StatusView::receive(lib::FileDescriptor{::dup(region.descriptor())}, {max_taps, 1})
                   .value()} {}

    /// False: refused.
    bool apply(lib::CommandBatch& batch) {
        batch.commit(lib::Token{1});
        lib::CommandReader reader{{max_taps, 2, {}, {}}};
        for (auto record : batch.records()) {
            const auto done = reader.take(record);
            if (!done) {
                continue;
            }
            REQUIRE(done->refusal == lib::Refusal::none);
            auto after = sas;
            std::array<bool, lib::max_sas> named{};
            bool resync = false;
            for (const auto& change : done->changes) {
                resync = resync || std::holds_alternative<lib::ResyncBegin>(change);
                if (const auto* const install = std::get_if<lib::SaInstall>(&change)) {
                    auto& sa = after[install->header.slot];
                    named[install->header.slot] = true;
                    extended[install->header.slot] = install->extended_sequence == 1;
                    const auto end = install->lease.first + install->lease.count;
                    if (sa.id == install->header.id && install->lease.first <= sa.end) {
                        sa.end = std::max(sa.end, end);
                    } else if (sa.id == 0 || sa.id == install->header.id) {
                        sa = {install->header.id, install->lease.first, end, install->tunnel, ++installs};
                        sealed_bytes(install->header.slot).store(0);
                    } else {
                        return false;
                    }
                } else if (const auto* const lease = std::get_if<lib::SaLease>(&change)) {
                    auto& sa = after[lease->header.slot];
                    named[lease->header.slot] = true;
                    if (sa.id != lease->header.id || sa.end != lease->lease.first) {
                        return false;
                    }
                    sa.end += lease->lease.count;
                } else if (const auto* const gone = std::get_if<lib::SaRemove>(&change)) {
                    auto& sa = after[static_cast<std::size_t>(gone->slot)];
                    if (sa.id != gone->key_id) {
                        return false;
                    }
                    sa = {};
                }
            }
            for (std::size_t slot = 0; resync && slot < after.size(); ++slot) {
                if (!named[slot]) {
                    after[slot] = {};
                }
            }
            sas = after;
        }
        publish();
        return true;
    }

    void publish() {
        for (std::size_t slot = 0; slot < sas.size(); ++slot) {
            region.status().manager.sa_next[slot].store(sas[slot].next);
            region.status().manager.sa_lease_end[slot].store(sas[slot].end);
        }
    }

    lib::Counter& sealed_bytes(std::size_t slot) {
        return region.status().workers[0].sas[slot][lib::SaCounter::encrypted_bytes];
    }

    /// What seals the tunnel's packets: the one that was installed last; nullptr: nothing.
    Sa* sealing(std::uint32_t tunnel) {
        Sa* last = nullptr;
        for (auto& sa : sas) {
            if (sa.id != 0 && sa.tunnel == tunnel && (last == nullptr || sa.order > last->order)) {
                last = &sa;
            }
        }
        return last;
    }

    lib::StatusRegion region;
    lib::StatusView view;
    std::uint64_t installs = 0;
    std::array<Sa, lib::max_sas> sas{};
    std::array<bool, lib::max_sas> extended{};
};

/// Control with its medium and registry; the associations are what dies with the process.
struct Control {
    explicit Control(const Scratch& folder, const lib::Config& file, Now time = {})
        : now{time},
          associations{control::load_sas(file).value()},
          store{LeaseStore::open(folder.path()).value()} {
        std::vector<control::KeyUse> uses;
        for (const auto& association : associations.all()) {
            uses.push_back(store.use(association.digest, utc()));
        }
        associations.begin(uses, now);
    }

    std::int64_t utc() const {
        return today + static_cast<std::int64_t>(now.boot / control::nanoseconds_per_second);
    }

    void meet(Associations::Needs needs, Dataplane& dataplane, Registry& registry) {
        for (std::size_t met = 0; !needs.empty(); ++met) {
            REQUIRE(met < most_steps);
            const auto need = needs.back();
            needs.pop_back();
            std::expected<lib::Lease, std::string> lease = std::unexpected{"no lease"};
            if (medium_works && store.check_witness(need.key, need.witness)) {
                lease = store.grant(need.key, need.space, utc());
            }
            for (const auto& more :
                 associations.granted(need.place, lease, dataplane.view.epoch(), dataplane.view, registry)) {
                needs.push_back(more);
            }
        }
        REQUIRE(store.record(associations.take_records()).has_value());
    }

    bool resync(Dataplane& dataplane, Registry& registry) {
        lib::CommandBatch batch;
        batch.resync_begin();
        associations.fill_resync(batch, registry);
        const bool done = dataplane.apply(batch);
        if (done) {
            associations.committed(dataplane.view, now);
        }
        REQUIRE(store.record(associations.take_records()).has_value());
        return done;
    }

    void link(Dataplane& dataplane, Registry& registry) {
        meet(associations.begin_link(dataplane.view, registry, now), dataplane, registry);
        REQUIRE(resync(dataplane, registry));
    }

    /// A commit of what there is to commit; false: nothing.
    bool commit(Dataplane& dataplane, Registry& registry) {
        lib::CommandBatch batch;
        if (!associations.fill(batch, dataplane.view, registry)) {
            return false;
        }
        REQUIRE(dataplane.apply(batch));
        associations.committed(dataplane.view, now);
        REQUIRE(store.record(associations.take_records()).has_value());
        return true;
    }

    /// One look at the lifetimes, its leases and all commits that follow.
    void look(Dataplane& dataplane, Registry& registry) {
        meet(associations.look(dataplane.view, registry, now), dataplane, registry);
        std::size_t commits = 0;
        while (commit(dataplane, registry)) {
            REQUIRE(++commits < most_steps);
        }
    }

    Now now;
    bool medium_works = true;
    Associations associations;
    LeaseStore store;
};

inline void record_keys(const Scratch& scratch, const lib::Config& config) {
    std::vector<control::KeyDigest> keys;
    const auto loaded = control::load_sas(config);
    REQUIRE(loaded.has_value());
    for (const auto& sa : loaded->sealing) {
        keys.push_back(sa.digest);
    }
    REQUIRE(LeaseStore::open(scratch.path())->record_new(keys).has_value());
}

}  // namespace flowtap::test
