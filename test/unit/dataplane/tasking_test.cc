// A batch of changes: all of it or nothing, and done only when every worker has it.
#include "dataplane/tasking.h"

#include "test/unit/dataplane/sa_fixture.h"

#include <catch2/catch.hpp>

namespace {

namespace dataplane = flowtap::dataplane;
namespace lib = flowtap::lib;
namespace match = flowtap::dataplane::match;
using lib::Refusal;

constexpr std::uint32_t max_taps = 200'000;

lib::Config config() {
    lib::Config result;
    result.dataplane.workers = {0};
    result.dataplane.max_taps = max_taps;
    result.tunnels = flowtap::test::tunnels(1);
    result.routes = {{*lib::parse_prefix("2.2.2.0/27"), 0}};
    return result;
}

struct Fixture {
    lib::Config configuration = config();
    match::Quiescence quiescence{1};
    match::TapTable taps{quiescence, {.max_taps = max_taps}};
    dataplane::OwnFlows flows{quiescence};
    dataplane::SaTable sas{quiescence, *flowtap::crypto::Engine::create(), configuration.tunnels, 1500};
    lib::StatusRegion status = *lib::StatusRegion::create({max_taps, 1}, lib::new_epoch());
    dataplane::Tasking tasking{{configuration, quiescence, taps, flows, sas, status}};
    std::uint64_t steps = 0;

    static lib::TapDestination target(std::uint16_t port) {
        lib::TapDestination destination;
        destination.dest_address = {2, 2, 2, 1};
        destination.source_address = {1, 1, 1, 1};
        destination.dest_port = port;
        destination.source_port = 6000;
        return destination;
    }
    static lib::Change add(std::uint32_t slot, std::uint64_t id) {
        lib::TapAdd tap{.slot = lib::TapSlot{slot},
                        .id = lib::TapId{id},
                        .criterion = {},
                        .destinations = {},
                        .service = {}};
        lib::IpAddress host;
        host.bytes = {10, static_cast<std::uint8_t>(id >> 16), static_cast<std::uint8_t>(id >> 8),
                      static_cast<std::uint8_t>(id)};
        tap.criterion.dest_address = {{host, host}};
        tap.destinations = {target(static_cast<std::uint16_t>(id))};
        return tap;
    }
    static lib::Change remove(std::uint32_t slot, std::uint64_t id) {
        return lib::TapRemove{lib::TapSlot{slot}, lib::TapId{id}};
    }

    /// Nothing when it is not done within the steps.
    std::optional<dataplane::Tasking::Outcome> apply(std::vector<lib::Change> changes,
                                                     std::size_t limit = 100'000) {
        lib::Batch batch;
        batch.changes.assign(changes.begin(), changes.end());
        tasking.begin(std::move(batch));
        return go_on(limit);
    }
    std::optional<dataplane::Tasking::Outcome> go_on(std::size_t limit = 100'000) {
        for (steps = 0; steps < limit; ++steps) {
            if (const auto outcome = tasking.advance()) {
                return outcome;
            }
        }
        return std::nullopt;
    }
    Refusal refusal(std::vector<lib::Change> changes) { return apply(std::move(changes))->refusal; }

    /// The slot of the one tap that matches the id's host; nothing if none does.
    std::optional<std::uint32_t> found(std::uint64_t id) const {
        static thread_local match::HeaderBurst burst;
        static thread_local match::Matches matches;
        burst = {};
        burst.count = 1;
        burst.ipv4 = 1;
        match::Headers& headers = burst.headers[0];
        headers = {};
        headers.family = lib::Family::ipv4;
        headers.dest = {10, static_cast<std::uint8_t>(id >> 16), static_cast<std::uint8_t>(id >> 8),
                        static_cast<std::uint8_t>(id)};
        headers.source = {192, 0, 2, 1};
        burst.dest4[0] = static_cast<std::uint32_t>(10U << 24 | (id & 0xffffff));
        burst.source4[0] = 0xc0000201;
        taps.classify(burst, matches);
        if (matches.matched == 0) {
            return std::nullopt;
        }
        REQUIRE(matches.frames[0].count == 1);
        const match::Match& match = matches.frames[0].taps[0];
        CHECK(dataplane::copies_of(match.payload).id == lib::TapId{id});
        return static_cast<std::uint32_t>(match.slot);
    }
    bool own(std::uint16_t port) const {
        match::Headers headers{};
        headers.family = lib::Family::ipv4;
        headers.source = {1, 1, 1, 1};
        headers.dest = {2, 2, 2, 1};
        headers.protocol = 17;
        headers.flags = match::flag::ports;
        headers.source_port = 6000;
        headers.dest_port = port;
        return flows.contains(headers);
    }
};

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
    REQUIRE(refusal({remove(0, 1)}) == Refusal::none);
    CHECK(status.taps(0)[0][lib::TapCounter::copies_sent] == 5);  // control may still read them
    REQUIRE(refusal({add(0, 2)}) == Refusal::none);
    CHECK(status.taps(0)[0][lib::TapCounter::copies_sent] == 0);
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
