// SAs and their leases: no counter value goes out twice, whatever dies.
#include "test/unit/control/association_lab.h"

#include <map>
#include <memory>
#include <random>

namespace flowtap::test {

namespace {

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
    control.meet({*need}, dataplane, registry);
    REQUIRE(control.commit(dataplane, registry));
    CHECK(dataplane.sas[0].end == 2 * control::short_space.block);
    CHECK(dataplane.sas[0].next == 1);
}

TEST_CASE_METHOD(
    TwoTunnels,
    "an SA that the dataplane refuses is left out, costs no lease after lease, and harms no other") {
    auto registry = Registry::create(max_taps).value();
    Dataplane dataplane{1};
    Control control{scratch, config};
    control.meet(control.associations.begin_link(dataplane.view, registry, control.now), dataplane, registry);
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
                    control->meet({*need}, *dataplane, *registry);
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
                    control->meet({*need}, *dataplane, *registry);
                    lib::CommandBatch batch;
                    if (control->associations.fill(batch, dataplane->view, *registry)) {
                        if (dataplane->apply(batch)) {
                            control->associations.committed(dataplane->view, control->now);
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

TEST_CASE_METHOD(TwoTunnels,
                 "what opens is named in every resync, in its own slots, and left out once it was refused") {
    config.tunnels[0].sas_in = {scratch / "in", scratch / "in-next"};
    write_sa(scratch / "in", 0x2001, 'c');
    write_sa(scratch / "in-next", 0x2002, 'd');
    auto registry = Registry::create(max_taps).value();
    const Dataplane dataplane{1};
    Control control{scratch, config};
    const auto opening = [&] {
        lib::CommandBatch batch;
        batch.resync_begin();
        control.associations.fill_resync(batch, registry);
        batch.commit(lib::Token{1});
        lib::CommandReader reader{{max_taps, 2, {}, {}}};
        std::map<std::uint32_t, std::uint32_t> spi_by_slot;
        for (auto record : batch.records()) {
            const auto done = reader.take(record);
            if (!done) {
                continue;
            }
            REQUIRE(done->refusal == lib::Refusal::none);
            for (const auto& change : done->changes) {
                if (const auto* const install = std::get_if<lib::SaInstall>(&change);
                    install != nullptr && install->direction == lib::SaDirection::opens) {
                    spi_by_slot[install->header.slot] = install->spi;
                }
            }
        }
        return spi_by_slot;
    };
    using Expected = std::map<std::uint32_t, std::uint32_t>;
    CHECK(opening() == Expected{{0, 0x2001}, {1, 0x2002}});

    control.associations.refused(lib::Refusal::bad_key, lib::SaSlot{lib::max_sas + 1});
    CHECK(opening() == Expected{{0, 0x2001}});
    CHECK_FALSE(control.associations.inbound()[1].trouble.empty());
    CHECK(control.associations.inbound()[0].trouble.empty());

    control.associations.begin_link(dataplane.view, registry, control.now);
    CHECK(opening() == Expected{{0, 0x2001}, {1, 0x2002}});
}

}  // namespace flowtap::test
