// A batch of changes: all of it or nothing, and done only when every worker has it.
#include "test/unit/dataplane/tasking_fixture.h"

namespace {

namespace lib = flowtap::lib;
using flowtap::test::max_taps;
using lib::Refusal;

struct Fixture : flowtap::test::TaskingFixture {};

TEST_CASE_METHOD(Fixture, "taps come and go with their batch, and their flows with them") {
    REQUIRE(refusal({add(5, 1), add(6, 2)}) == Refusal::none);
    CHECK(found(1) == 5);
    CHECK(found(2) == 6);
    CHECK(own(1));
    REQUIRE(refusal({remove(5, 1)}) == Refusal::none);
    CHECK_FALSE(found(1));
    CHECK_FALSE(own(1));
    CHECK(found(2) == 6);
    REQUIRE(refusal({add(5, 3)}) == Refusal::none);
    CHECK(found(3) == 5);
}

TEST_CASE_METHOD(Fixture, "a batch is not done before the worker has passed a quiescent state") {
    quiescence.join(0);
    CHECK_FALSE(apply({add(0, 1)}, 1000));
    CHECK(tasking.busy());
    quiescence.quiescent(0);
    const auto outcome = go_on();
    REQUIRE(outcome);
    CHECK(outcome->refusal == Refusal::none);
    CHECK_FALSE(tasking.busy());
}

TEST_CASE_METHOD(Fixture,
                 "an association that a batch removes with its taps stays until no worker has the taps") {
    REQUIRE(refusal({flowtap::test::install(0, 9, {1, 100}), add(0, 1)}) == Refusal::none);
    quiescence.join(0);
    CHECK_FALSE(apply({lib::SaRemove{lib::SaSlot{0}, 9}, remove(0, 1)}, 100));
    CHECK_FALSE(found(1));
    CHECK(sas.view()[0].sa != nullptr);
    quiescence.quiescent(0);
    CHECK_FALSE(go_on(100));
    CHECK(sas.view()[0].sa == nullptr);
    quiescence.quiescent(0);
    CHECK(go_on());
}

TEST_CASE_METHOD(Fixture, "one bad change refuses all of its batch") {
    REQUIRE(refusal({add(0, 1)}) == Refusal::none);
    const std::vector<std::pair<lib::Change, Refusal>> bad{
        {add(0, 7), Refusal::slot_in_use},
        {add(max_taps, 7), Refusal::unknown_slot},
        {remove(0, 7), Refusal::unknown_slot},
        {remove(4, 7), Refusal::unknown_slot},
        {flowtap::test::install(0, 9, {1, 0}), Refusal::bad_lease},
        {flowtap::test::extend(0, 9, {1, 5}), Refusal::unknown_slot},
        {lib::SaRemove{lib::SaSlot{0}, 9}, Refusal::unknown_slot},
    };
    for (const auto& [change, why] : bad) {
        CHECK(refusal({flowtap::test::install(1, 8, {1, 100}), add(1, 2), remove(0, 1), change}) == why);
        CHECK(found(1) == 0);
        CHECK_FALSE(found(2));
        CHECK_FALSE(own(2));
        CHECK(sas.count() == 0);
    }
    REQUIRE(refusal({add(1, 2), remove(0, 1)}) == Refusal::none);
    CHECK_FALSE(found(1));
    CHECK(found(2) == 1);
}

TEST_CASE_METHOD(Fixture, "a tap whose copies would be in an account that there is not refuses the batch") {
    configuration.destinations.resize(2);
    configuration.destinations[1].rate_limit = 1000;
    const auto to_account = [](std::uint16_t account) {
        auto change = std::get<lib::TapAdd>(add(0, 1));
        change.destinations.push_back(target(2));
        change.destinations.back().account = 0;
        change.destinations.push_back(target(3));
        change.destinations.back().account = account;
        return lib::Change{change};
    };
    for (const std::uint16_t account :
         {std::uint16_t{2}, std::uint16_t{lib::max_accounts}, std::uint16_t{0xffff}}) {
        CHECK(refusal({to_account(account)}) == Refusal::malformed_record);
        CHECK_FALSE(found(1));
    }
    REQUIRE(refusal({to_account(1)}) == Refusal::none);
    const auto& targets = see(1)->copies->targets;
    REQUIRE(targets.size() == 3);
    CHECK(targets[0].account == lib::other_account);
    CHECK_FALSE(targets[0].limited);
    CHECK_FALSE(targets[1].limited);
    CHECK(targets[2].account == 1);
    CHECK(targets[2].limited);
}

TEST_CASE_METHOD(Fixture, "a resync keeps what has the same id, counters too, and takes the rest away") {
    REQUIRE(refusal({add(0, 1), add(1, 2), add(2, 3)}) == Refusal::none);
    for (const std::uint32_t slot : {0U, 1U, 2U}) {
        lib::add(status.taps(0)[slot][lib::TapCounter::matched_packets], 77);
    }
    REQUIRE(refusal({lib::ResyncBegin{}, add(0, 1), add(2, 9), add(3, 4)}) == Refusal::none);
    CHECK(found(1) == 0);
    CHECK_FALSE(found(2));
    CHECK_FALSE(found(3));
    CHECK(found(9) == 2);  // another tap in a slot that was in use
    CHECK(found(4) == 3);
    CHECK(status.taps(0)[0][lib::TapCounter::matched_packets] == 77);
    CHECK(status.taps(0)[2][lib::TapCounter::matched_packets] == 0);
    CHECK_FALSE(own(2));
    CHECK_FALSE(own(3));
    CHECK(own(9));
    REQUIRE(refusal({lib::ResyncBegin{}}) == Refusal::none);
    CHECK(taps.usage().taps == 0);
}

TEST_CASE_METHOD(Fixture, "a resync that names a slot twice is refused") {
    REQUIRE(refusal({add(0, 1)}) == Refusal::none);
    CHECK(refusal({lib::ResyncBegin{}, add(3, 2), add(3, 4)}) == Refusal::slot_in_use);
    CHECK(found(1) == 0);
}

TEST_CASE_METHOD(Fixture, "the counters of a slot start from zero with its next tap") {
    REQUIRE(refusal({add(0, 1)}) == Refusal::none);
    lib::add(status.taps(0)[0][lib::TapCounter::copies_sent], 5);
    lib::add(status.losses(0)[0][lib::WorkerCounter::copy_no_next_hop], 6);
    REQUIRE(refusal({remove(0, 1)}) == Refusal::none);
    CHECK(status.taps(0)[0][lib::TapCounter::copies_sent] == 5);  // control may still read them
    REQUIRE(refusal({add(0, 2)}) == Refusal::none);
    CHECK(status.taps(0)[0][lib::TapCounter::copies_sent] == 0);
    CHECK(status.losses(0)[0][lib::WorkerCounter::copy_no_next_hop] == 0);
}

TEST_CASE_METHOD(Fixture, "no step of a large resync is long") {
    std::vector<lib::Change> changes{lib::ResyncBegin{}};
    for (std::uint32_t i = 0; i < 50'000; ++i) {
        changes.push_back(add(i, i + 1));
    }
    REQUIRE(refusal(changes) == Refusal::none);
    CHECK(steps > 50'000 / 256);
    CHECK(taps.usage().taps == 50'000);
    CHECK(found(50'000) == 49'999);
}

}  // namespace
