// Frames are stopped while a tap says so and somebody can end it, and at no other time.
#include "dataplane/stop_switch.h"

#include "dataplane/stop_warrant.h"
#include "test/unit/dataplane/tasking_fixture.h"

#include <chrono>

namespace {

namespace dataplane = flowtap::dataplane;
namespace lib = flowtap::lib;
using flowtap::test::Refusal;
using lib::TapAction;
using namespace std::chrono_literals;

struct Fixture : flowtap::test::TaskingFixture {
    static lib::Change add(std::uint32_t slot, std::uint64_t id, TapAction action) {
        auto change = TaskingFixture::add(slot, id);
        std::get<lib::TapAdd>(change).action = action;
        return change;
    }
    /// A step at a time, until the change is done; `always` holds after each.
    template <typename Always>
    void apply_watched(lib::Change change, Always always) {
        lib::Batch batch;
        batch.changes.assign(&change, &change + 1);
        tasking.begin(std::move(batch));
        bool done = false;
        for (int step = 0; step < 1000 && !done; ++step) {
            done = tasking.advance().has_value();
            always();
            quiescence.quiescent(0);
        }
        REQUIRE(done);
    }
};

TEST_CASE_METHOD(Fixture, "it is on whenever a burst can find a tap that stops frames, and off without one") {
    const auto consistent = [&] { CHECK((stops.on() || !found(1))); };
    REQUIRE(refusal({add(5, 9, TapAction::copy)}) == Refusal::none);
    CHECK_FALSE(stops.on());
    quiescence.join(0);
    for (const TapAction action : {TapAction::block, TapAction::redirect}) {
        apply_watched(add(0, 1, action), consistent);
        CHECK(stops.on());
        apply_watched(remove(0, 1), consistent);
        CHECK_FALSE(stops.on());
    }
}

TEST_CASE_METHOD(Fixture, "a removed tap's bursts are still under way: it is on until they are through") {
    REQUIRE(refusal({add(0, 1, TapAction::block)}) == Refusal::none);
    quiescence.join(0);
    const auto seen = see(1);
    lib::Batch batch;
    batch.changes.assign({remove(0, 1)});
    tasking.begin(std::move(batch));
    CHECK_FALSE(go_on(1000));
    CHECK_FALSE(found(1));
    CHECK(stops.on());
    CHECK(seen->copies->action == TapAction::block);
    quiescence.quiescent(0);
    CHECK(go_on());
    CHECK_FALSE(stops.on());
}

TEST_CASE_METHOD(Fixture, "a refused batch leaves it as it was; a resync counts each tap once") {
    CHECK(refusal({add(0, 1, TapAction::block), add(flowtap::test::max_taps, 2, TapAction::copy)}) ==
          Refusal::unknown_slot);
    CHECK(stops.taps() == 0);
    REQUIRE(refusal({add(0, 1, TapAction::block), add(1, 2, TapAction::redirect)}) == Refusal::none);
    CHECK(stops.taps() == 2);
    // One stays, one goes, and one takes the slot of another: what replaces it copies.
    REQUIRE(refusal({lib::ResyncBegin{}, add(0, 1, TapAction::block), add(1, 3, TapAction::copy)}) ==
            Refusal::none);
    CHECK(stops.taps() == 1);
    REQUIRE(refusal({lib::ResyncBegin{}}) == Refusal::none);
    CHECK(stops.taps() == 0);
    CHECK_FALSE(stops.on());
}

TEST_CASE_METHOD(Fixture,
                 "a tap that blocks has no copies to make and no flow of its own; one that redirects has") {
    REQUIRE(refusal({add(0, 1, TapAction::block), add(1, 2, TapAction::redirect)}) == Refusal::none);
    CHECK(see(1)->copies->targets.empty());
    CHECK_FALSE(own(1));
    CHECK(see(2)->copies->targets.size() == 1);
    CHECK(own(2));
}

TEST_CASE("without permission it is off, whatever taps there are") {
    dataplane::StopSwitch stops;
    CHECK_FALSE(stops.on());
    stops.count(1);
    CHECK(stops.on());
    stops.permit(false);
    CHECK_FALSE(stops.on());
    stops.count(1);
    CHECK_FALSE(stops.on());
    stops.permit(true);
    CHECK(stops.on());
    stops.count(-2);
    CHECK_FALSE(stops.on());
}

TEST_CASE("frames are stopped for 30 s without a control in charge, and again when there is one") {
    const dataplane::StopWarrant::Clock::time_point start{1000s};
    dataplane::StopWarrant warrant{start};
    CHECK(warrant.observe(start + 29s, false));
    CHECK_FALSE(warrant.observe(start + 30s, false));
    CHECK(warrant.observe(start + 31s, true));
    CHECK(warrant.observe(start + 100s, true));
    CHECK(warrant.observe(start + 129s, false));
    CHECK_FALSE(warrant.observe(start + 131s, false));
    CHECK_FALSE(warrant.observe(start + 1000s, false));
    CHECK(warrant.observe(start + 1001s, true));
}

}  // namespace
