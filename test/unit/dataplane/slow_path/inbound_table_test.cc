// The associations that open: what stays keeps its replay window, and nothing is seen before its batch is.
#include "dataplane/slow_path/inbound_table.h"

#include "test/unit/dataplane/sa_fixture.h"

#include <catch2/catch.hpp>

namespace {

namespace lib = flowtap::lib;
namespace match = flowtap::dataplane::match;
using flowtap::dataplane::slow_path::InboundTable;
using lib::Refusal;

lib::SaInstall opens(std::uint32_t slot, std::uint64_t id, std::uint16_t tunnel = 0) {
    lib::SaInstall record = flowtap::test::install(slot, id, {}, tunnel);
    record.direction = lib::SaDirection::opens;
    return record;
}

struct Fixture {
    match::Quiescence quiescence{1};
    InboundTable table{quiescence, *flowtap::crypto::Engine::create()};

    void commit(const lib::SaInstall& record) {
        REQUIRE(table.stage_install(record) == Refusal::none);
        table.publish();
    }
};

TEST_CASE_METHOD(Fixture, "inbound: nothing staged is seen, and a rollback forgets it") {
    REQUIRE(table.stage_install(opens(0, 1)) == Refusal::none);
    CHECK(table.view().empty());
    table.rollback();
    table.publish();
    CHECK(table.view().empty());
}

TEST_CASE_METHOD(Fixture, "inbound: the same association keeps its replay window, in and out of a resync") {
    commit(opens(0, 1, 1));
    auto* const before = table.view()[0].sa;
    CHECK(table.view()[0].tunnel == 1);
    CHECK_FALSE(table.view()[0].in_udp);
    before->seen(5);
    for (const bool resync : {false, true}) {
        if (resync) {
            table.stage_resync();
        }
        commit(opens(0, 1, 1));
        REQUIRE(table.view().size() == 1);
        CHECK(table.view()[0].sa == before);
        CHECK(table.view()[0].sa->check(5) == flowtap::crypto::ReplayWindow::Answer::replayed);
    }
}

TEST_CASE_METHOD(Fixture,
                 "a slot is taken over only with its removal or in a resync, which ends what it leaves out") {
    commit(opens(0, 1));
    CHECK(table.stage_install(opens(0, 2)) == Refusal::slot_in_use);
    CHECK(table.stage_remove(lib::SaSlot{0}, 2) == Refusal::unknown_slot);
    REQUIRE(table.stage_remove(lib::SaSlot{0}, 1) == Refusal::none);
    CHECK(table.stage_remove(lib::SaSlot{0}, 1) == Refusal::unknown_slot);
    commit(opens(0, 2));
    CHECK(static_cast<std::uint32_t>(table.view().at(0).sa->spi()) == 0x1002);
    commit(opens(1, 3));
    CHECK(table.view().size() == 2);
    table.stage_resync();
    auto in_udp = opens(0, 4);
    in_udp.udp_encapsulation = 1;
    commit(in_udp);
    REQUIRE(table.view().size() == 1);
    CHECK(static_cast<std::uint32_t>(table.view()[0].sa->spi()) == 0x1004);
    CHECK(table.view()[0].in_udp);
}

TEST_CASE_METHOD(Fixture,
                 "inbound: what a reader may still hold is there until it has passed a quiescent state") {
    REQUIRE(quiescence.join(0));
    commit(opens(0, 1));
    const auto& view = table.view();
    auto* const sa = view[0].sa;
    REQUIRE(table.stage_remove(lib::SaSlot{0}, 1) == Refusal::none);
    table.publish();
    table.reclaim();
    CHECK(view.size() == 1);  // under ASan: the memory is there
    CHECK(static_cast<std::uint32_t>(sa->spi()) == 0x1001);
    quiescence.quiescent(0);
    table.reclaim();
    CHECK(table.view().empty());
    quiescence.leave(0);
}

}  // namespace
