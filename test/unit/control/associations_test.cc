// SAs and their leases: no counter value goes out twice, whatever dies.
#include "control/associations.h"

#include "control/lease_store.h"
#include "lib/command_reader.h"
#include "test/unit/control/scratch.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <sys/stat.h>
#include <unistd.h>
#include <variant>

namespace flowtap::test {

namespace {

using control::Associations;
using control::LeaseStore;
using control::Registry;

constexpr std::uint32_t max_taps = 8;

void write_sa(const std::filesystem::path& file, unsigned spi, char digit, char salt = '0') {
    std::ofstream{file} << fmt::format("spi = {}\nsuite = \"aes-256-gcm-16\"\nkey = \"{}{}\"\n", spi,
                                       digit + std::string{"123456789abcdef0"} + std::string(47, digit),
                                       std::string(8, salt));
    ::chmod(file.c_str(), 0600);
}

lib::Config config_of(const Scratch& scratch) {
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
                        sa = {install->header.id, install->lease.first, end, install->tunnel};
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

    lib::StatusRegion region;
    lib::StatusView view;
    std::array<Sa, lib::max_sas> sas{};
    std::array<bool, lib::max_sas> extended{};
};

/// Control with its medium and registry; the associations are what dies with the process.
struct Control {
    explicit Control(const Scratch& folder, const lib::Config& file)
        : associations{control::load_sas(file).value()}, store{LeaseStore::open(folder.path()).value()} {}

    void meet(const std::vector<Associations::Need>& needs, lib::Epoch epoch, Registry& registry) {
        for (const auto& need : needs) {
            std::expected<lib::Lease, std::string> lease = std::unexpected{"rolled back"};
            if (store.check_witness(need.key, need.witness)) {
                lease = store.grant(need.key, need.space);
            }
            associations.granted(need.place, lease, epoch, registry);
        }
    }

    bool resync(Dataplane& dataplane, Registry& registry) {
        lib::CommandBatch batch;
        batch.resync_begin();
        associations.fill_resync(batch, registry);
        const bool done = dataplane.apply(batch);
        if (done) {
            associations.committed();
        }
        return done;
    }

    void link(Dataplane& dataplane, Registry& registry) {
        meet(associations.begin_link(dataplane.view, registry), dataplane.view.epoch(), registry);
        REQUIRE(resync(dataplane, registry));
    }

    Associations associations;
    LeaseStore store;
};

void record_keys(const Scratch& scratch, const lib::Config& config) {
    std::vector<control::KeyDigest> keys;
    const auto loaded = control::load_sas(config);
    REQUIRE(loaded.has_value());
    for (const auto& sa : *loaded) {
        keys.push_back(sa.digest);
    }
    REQUIRE(LeaseStore::open(scratch.path())->record_new(keys).has_value());
}

/// Two tunnels with a key each, both recorded.
struct TwoTunnels {
    TwoTunnels() {
        write_sa(scratch / "one", 0x1001, 'a');
        write_sa(scratch / "two", 0x1002, 'b');
        record_keys(scratch, config);
    }
    Scratch scratch;
    lib::Config config = config_of(scratch);
};

}  // namespace

TEST_CASE("an SA with extended sequence numbers gets wider leases, and its record says so") {
    const Scratch scratch;
    write_sa(scratch / "one", 0x1001, 'a');
    std::ofstream{scratch / "one", std::ios::app}
        << "extended-sequence-numbers = true\nudp-encapsulation = true\n";
    auto config = config_of(scratch);
    config.tunnels.pop_back();
    record_keys(scratch, config);
    auto registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    Control control{scratch, config};
    control.link(dataplane, registry);
    CHECK(dataplane.sas[0].end == control::extended_space.block);
    CHECK(dataplane.extended[0]);
}

TEST_CASE("an SA without a counter record is not installed; the others are") {
    const Scratch scratch;
    write_sa(scratch / "one", 0x1001, 'a');
    write_sa(scratch / "two", 0x1002, 'b');
    auto only_one = config_of(scratch);
    only_one.tunnels.pop_back();
    record_keys(scratch, only_one);
    const auto config = config_of(scratch);
    auto registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    Control control{scratch, config};
    control.link(dataplane, registry);
    CHECK(control.associations.all()[0].kept);
    CHECK_FALSE(control.associations.all()[1].kept);
    CHECK_FALSE(control.associations.all()[1].trouble.empty());
    CHECK(std::ranges::count_if(dataplane.sas, [](const auto& sa) { return sa.id != 0; }) == 1);
}

TEST_CASE_METHOD(TwoTunnels, "a new control leaves a living SA's counter and lease alone") {
    auto registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    Control{scratch, config}.link(dataplane, registry);
    dataplane.sas[0].next += 1000;
    const auto before = dataplane.sas;
    for (int life = 0; life < 300; ++life) {
        Control{scratch, config}.link(dataplane, registry);
    }
    CHECK(dataplane.sas[0].next == before[0].next);
    CHECK(dataplane.sas[0].end == before[0].end);
    CHECK(dataplane.sas[1].end == before[1].end);
}

TEST_CASE_METHOD(TwoTunnels, "a lease that runs low is extended without a gap, once") {
    auto registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    Control control{scratch, config};
    control.link(dataplane, registry);
    const auto need = control.associations.lease_low(lib::SaSlot{0}, registry);
    REQUIRE(need.has_value());
    CHECK_FALSE(control.associations.lease_low(lib::SaSlot{0}, registry).has_value());
    control.meet({*need}, dataplane.view.epoch(), registry);
    lib::CommandBatch batch;
    REQUIRE(control.associations.fill(batch, dataplane.view));
    REQUIRE(dataplane.apply(batch));
    control.associations.committed();
    CHECK(dataplane.sas[0].end == 2 * control::short_space.block);
    CHECK(dataplane.sas[0].next == 1);
}

TEST_CASE_METHOD(
    TwoTunnels,
    "an SA that the dataplane refuses is left out, costs no lease after lease, and harms no other") {
    auto registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    Control control{scratch, config};
    control.meet(control.associations.begin_link(dataplane.view, registry), dataplane.view.epoch(), registry);
    lib::CommandBatch batch;
    batch.resync_begin();
    control.associations.fill_resync(batch, registry);
    control.associations.refused(lib::Refusal::bad_key, *control.associations.all()[0].slot);
    REQUIRE(control.resync(dataplane, registry));
    CHECK_FALSE(control.associations.all()[0].trouble.empty());
    CHECK(control.associations.all()[1].kept);
    CHECK(control.store.next(control.associations.all()[1].digest) == control::short_space.block);
}

TEST_CASE_METHOD(
    TwoTunnels,
    "no counter value is sealed with twice over random deaths of both processes at random moments") {
    std::mt19937_64 random{5};
    std::optional<Registry> registry = Registry::create(max_taps).value();
    auto dataplane = std::make_unique<Dataplane>(1);
    auto control = std::make_unique<Control>(scratch, config);
    std::uint64_t epoch = 1;
    std::map<std::uint32_t, std::uint64_t> sealed;  // by tunnel: all below have been used
    const auto seal = [&] {
        for (auto& sa : dataplane->sas) {
            const auto count =
                sa.id == 0 ? 0 : std::min(random() % (control::short_space.block / 2), sa.end - sa.next);
            if (count != 0) {
                REQUIRE(sa.next >= sealed[sa.tunnel]);
                sa.next += count;
                sealed[sa.tunnel] = sa.next;
            }
        }
        if (random() % 3 != 0) {
            dataplane->publish();  // else the status lags behind, as it may
        }
    };
    control->link(*dataplane, *registry);
    for (int step = 0; step < 600; ++step) {
        seal();
        switch (random() % 8) {
            case 0:  // control dies, and the next one links
                control = std::make_unique<Control>(scratch, config);
                control->link(*dataplane, *registry);
                break;
            case 1: {  // control dies with a recorded lease that nobody heard of
                if (const auto need = control->associations.lease_low(lib::SaSlot{0}, *registry)) {
                    control->meet({*need}, dataplane->view.epoch(), *registry);
                }
                control = std::make_unique<Control>(scratch, config);
                control->link(*dataplane, *registry);
                break;
            }
            case 2:  // the dataplane dies
                dataplane = std::make_unique<Dataplane>(++epoch);
                control->link(*dataplane, *registry);
                break;
            case 3:  // both die
                if (step % 3 == 0) {
                    dataplane = std::make_unique<Dataplane>(++epoch);
                    registry = Registry::create(max_taps).value();
                    control = std::make_unique<Control>(scratch, config);
                    control->link(*dataplane, *registry);
                }
                break;
            default: {  // a lease runs low
                const auto slot = lib::SaSlot{static_cast<std::uint32_t>(random() % 4)};
                if (const auto need = control->associations.lease_low(slot, *registry)) {
                    control->meet({*need}, dataplane->view.epoch(), *registry);
                    lib::CommandBatch batch;
                    if (control->associations.fill(batch, dataplane->view)) {
                        if (dataplane->apply(batch)) {
                            control->associations.committed();
                        } else {
                            control->associations.refused(lib::Refusal::none, slot);
                            REQUIRE(control->resync(*dataplane, *registry));
                        }
                    }
                }
            }
        }
    }
    CHECK(sealed.size() == 2);
}

}  // namespace flowtap::test
