// Which association seals for a tunnel, and that no counter ever starts over.
#include "dataplane/sa_table.h"

#include "test/unit/dataplane/sa_fixture.h"

#include <catch2/catch.hpp>

namespace {

namespace dataplane = flowtap::dataplane;
namespace lib = flowtap::lib;
namespace match = flowtap::dataplane::match;
using flowtap::test::extend;
using flowtap::test::install;
using lib::Refusal;

struct Fixture {
    match::Quiescence quiescence{1};
    std::vector<lib::TunnelConfig> tunnels = flowtap::test::tunnels(2);
    dataplane::SaTable table{quiescence, *flowtap::crypto::Engine::create(), tunnels, 1500};

    void publish() {
        if (table.publish_additions()) {
            table.publish_removals();
        }
    }
    void commit(const lib::SaInstall& record) {
        REQUIRE(table.stage_install(record) == Refusal::none);
        publish();
    }
    std::uint32_t spi(std::size_t tunnel) const {
        const auto* sa = table.view()[tunnel].sa;
        return sa == nullptr ? 0 : static_cast<std::uint32_t>(sa->spi());
    }
};

TEST_CASE_METHOD(Fixture, "what was installed last seals, and what is left after a removal") {
    CHECK(spi(0) == 0);
    commit(install(3, 1, {1, 100}));
    CHECK(spi(0) == 0x1001);
    CHECK(spi(1) == 0);
    commit(install(0, 2, {1, 100}));
    CHECK(spi(0) == 0x1002);
    CHECK(table.view()[0].slot == lib::SaSlot{0});
    REQUIRE(table.stage_remove(lib::SaSlot{0}, 2) == Refusal::none);
    publish();
    CHECK(spi(0) == 0x1001);
    REQUIRE(table.stage_remove(lib::SaSlot{3}, 1) == Refusal::none);
    publish();
    CHECK(spi(0) == 0);
}

TEST_CASE_METHOD(Fixture, "an association that is leaving seals until its removal is published") {
    commit(install(0, 1, {1, 100}));
    REQUIRE(table.stage_remove(lib::SaSlot{0}, 1) == Refusal::none);
    CHECK(table.publish_additions());
    CHECK(spi(0) == 0x1001);
    table.publish_removals();
    CHECK(spi(0) == 0);
}

TEST_CASE_METHOD(Fixture, "nothing staged is seen, and a rollback forgets it") {
    REQUIRE(table.stage_install(install(0, 1, {1, 100})) == Refusal::none);
    CHECK(spi(0) == 0);
    table.rollback();
    CHECK_FALSE(table.publish_additions());
    CHECK(spi(0) == 0);
    CHECK(table.count() == 0);
}

TEST_CASE_METHOD(Fixture, "the same association keeps its counter, in and out of a resync") {
    commit(install(0, 1, {1, 100}));
    (void)table.view()[0].sa->take(40);
    const auto* before = table.view()[0].sa;
    for (const bool resync : {false, true}) {
        if (resync) {
            table.stage_resync();
        }
        commit(install(0, 1, {1, 100}));
        CHECK(table.view()[0].sa == before);
        CHECK(table.report(lib::SaSlot{0})->next == 41);
    }
}

TEST_CASE_METHOD(Fixture, "a lease grows where it ends, and nowhere else") {
    commit(install(0, 1, {1, 100}));
    CHECK(table.stage_lease(extend(0, 1, {102, 50})) == Refusal::bad_lease);
    CHECK(table.stage_lease(extend(0, 1, {100, 50})) == Refusal::bad_lease);
    CHECK(table.stage_lease(extend(0, 1, {101, 0})) == Refusal::bad_lease);
    CHECK(table.stage_lease(extend(0, 2, {101, 50})) == Refusal::unknown_slot);
    CHECK(table.stage_lease(extend(1, 1, {101, 50})) == Refusal::unknown_slot);
    CHECK(table.stage_lease(extend(0, 1, {101, 50})) == Refusal::none);
    CHECK(table.stage_lease(extend(0, 1, {151, 50})) == Refusal::none);
    CHECK(table.report(lib::SaSlot{0})->lease_end == 101);
    publish();
    CHECK(table.report(lib::SaSlot{0})->lease_end == 201);
}

TEST_CASE_METHOD(Fixture, "an install of the same association in a later block goes on there, never before") {
    commit(install(0, 1, {1, 100}));
    (void)table.view()[0].sa->take(40);
    commit(install(0, 1, {101, 100}));  // the next block: the lease grows
    CHECK(table.report(lib::SaSlot{0})->next == 41);
    CHECK(table.report(lib::SaSlot{0})->lease_end == 201);
    commit(install(0, 1, {500, 100}));  // a block was recorded that never arrived: it is skipped
    CHECK(table.report(lib::SaSlot{0})->next == 500);
    commit(install(0, 1, {1, 100}));  // an old one: nothing goes back
    CHECK(table.report(lib::SaSlot{0})->next == 500);
    CHECK(table.report(lib::SaSlot{0})->lease_end == 600);
}

TEST_CASE_METHOD(Fixture, "another association does not take a slot that is in use, but for a resync") {
    commit(install(0, 1, {1, 100}));
    CHECK(table.stage_install(install(0, 2, {1, 100})) == Refusal::slot_in_use);
    CHECK(table.stage_remove(lib::SaSlot{0}, 2) == Refusal::unknown_slot);
    table.stage_resync();
    commit(install(0, 2, {1, 100}));
    CHECK(spi(0) == 0x1002);
    CHECK(table.count() == 1);
}

TEST_CASE_METHOD(Fixture, "a resync takes away what it does not name") {
    commit(install(0, 1, {1, 100}));
    commit(install(1, 2, {1, 100}, 1));
    table.stage_resync();
    commit(install(1, 2, {1, 100}, 1));
    CHECK(spi(0) == 0);
    CHECK(spi(1) == 0x1002);
    commit(install(0, 3, {1, 100}));  // the one after it takes nothing away
    CHECK(spi(1) == 0x1002);
}

TEST_CASE_METHOD(Fixture, "impossible records are refused") {
    CHECK(table.stage_install(install(lib::max_sas, 1, {1, 100})) == Refusal::malformed_record);
    CHECK(table.stage_install(install(0, 1, {1, 100}, 2)) == Refusal::malformed_record);
    CHECK(table.stage_install(install(0, 1, {1, 0})) == Refusal::bad_lease);
    CHECK(table.stage_install(install(0, 1, {2, UINT64_MAX})) == Refusal::bad_lease);
    lib::SaInstall record = install(0, 1, {1, 100});
    record.key_size = 35;
    CHECK(table.stage_install(record) == Refusal::bad_key);
    record.key_size = 255;
    CHECK(table.stage_install(record) == Refusal::malformed_record);
    CHECK(table.count() == 0);
}

TEST_CASE_METHOD(Fixture, "an SA of every suite is installed as its record says") {
    std::uint64_t id = 0;
    for (const lib::SuiteInfo& suite : lib::suites) {
        auto record = install(0, ++id, {(std::uint64_t{1} << 32) - 1, 100});
        record.suite = suite.suite;
        record.key_size = static_cast<std::uint8_t>(suite.key_material_size());
        record.extended_sequence = id % 2;
        record.padded_length = id % 3 == 0 ? 1000 : 0;
        record.udp_encapsulation = id % 5 == 0 ? 1 : 0;
        table.stage_resync();
        commit(record);
        const auto& active = table.view()[0];
        REQUIRE(active.sa != nullptr);
        CHECK(&active.sa->suite() == &suite);
        CHECK(active.sa->take(5).count() == (record.extended_sequence != 0 ? 5 : 1));
        CHECK((active.largest_inner == 1000) == (record.padded_length != 0));
        CHECK(active.sa->headroom() == 20U + (record.udp_encapsulation != 0 ? 8 : 0) + 8 + suite.iv_size);
    }
    auto record = install(0, ++id, {1, 100});
    record.padded_length = 1500;  // does not fit the port's MTU with what is around it
    table.stage_resync();
    CHECK(table.stage_install(record) == Refusal::bad_key);
}

TEST_CASE_METHOD(Fixture, "a lease that runs low is said once for each block") {
    commit(install(0, 1, {1, 100}));
    CHECK_FALSE(table.report(lib::SaSlot{0})->low);
    (void)table.view()[0].sa->take(51);
    CHECK(table.report(lib::SaSlot{0})->low);
    CHECK_FALSE(table.report(lib::SaSlot{0})->low);
    REQUIRE(table.stage_lease(extend(0, 1, {101, 100})) == Refusal::none);
    publish();
    CHECK_FALSE(table.report(lib::SaSlot{0})->low);
    (void)table.view()[0].sa->take(100);
    CHECK(table.report(lib::SaSlot{0})->low);
}

}  // namespace
