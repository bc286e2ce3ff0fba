// Workers match, count and obey limits while the manager gives, raises, lowers and takes them. Meant for TSan
// as much as for its checks.
#include "dataplane/tasking.h"
#include "test/unit/dataplane/sa_fixture.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace {

namespace dataplane = flowtap::dataplane;
namespace lib = flowtap::lib;
namespace match = flowtap::dataplane::match;
using dataplane::Admission;

constexpr std::uint16_t workers = 3;
constexpr std::uint32_t max_taps = 64;
constexpr std::uint32_t packet = 100;  // bytes

lib::Config config() {
    lib::Config result;
    result.dataplane.workers = {0, 1, 2};
    result.dataplane.max_taps = max_taps;
    result.tunnels = flowtap::test::tunnels(1);
    return result;
}

struct Fixture {
    lib::Config configuration = config();
    match::Quiescence quiescence{workers};
    match::TapTable taps{quiescence, {.max_taps = max_taps}};
    dataplane::OwnFlows flows{quiescence};
    dataplane::SaTable sas{quiescence, *flowtap::crypto::Engine::create(), configuration.tunnels, 1500};
    lib::StatusRegion status = *lib::StatusRegion::create({max_taps, workers}, lib::new_epoch());
    dataplane::DropPolicies policies{configuration.drop_policies};
    dataplane::OverBoard over{max_taps};
    dataplane::StopSwitch stops;
    dataplane::Tasking tasking{{configuration, quiescence, taps, flows, sas, status, policies, over, stops}};
    std::atomic<bool> stop = false;
    std::vector<std::jthread> threads;

    Fixture() {
        for (std::uint16_t worker = 0; worker < workers; ++worker) {
            REQUIRE(quiescence.join(worker));
            threads.emplace_back([this, worker] { work(worker); });
        }
    }
    ~Fixture() { stop.store(true); }

    /// What a worker does with bursts of one frame that every tap matches.
    void work(std::uint16_t worker) {
        const auto burst = std::make_unique<match::HeaderBurst>();
        const auto matches = std::make_unique<match::Matches>();
        burst->count = 1;
        burst->ipv4 = 1;
        while (!stop.load(std::memory_order_relaxed)) {
            taps.classify(*burst, *matches);
            if (matches->matched != 0) {
                for (const match::Match& match : matches->frames[0]) {
                    serve(worker, match, matches->generation);
                }
            }
            quiescence.quiescent(worker);
        }
        quiescence.leave(worker);
    }
    void serve(std::uint16_t worker, const match::Match& match, match::Generation generation) {
        lib::TapCounters& counters = status.taps(worker)[static_cast<std::size_t>(match.slot)];
        const dataplane::TapCopies& copies = dataplane::copies_of(match.payload);
        Admission admission = Admission::admitted;
        if (const auto* terms =
                dataplane::terms_of(copies.terms.load(std::memory_order_acquire), generation)) {
            admission = admit(*terms, worker, counters, packet);
        }
        if (admission == Admission::admitted || admission == Admission::last) {
            lib::add(counters[lib::TapCounter::matched_packets], 1);
            lib::add(counters[lib::TapCounter::matched_bytes], packet);
        }
        if (admission == Admission::last || admission == Admission::ended) {
            over.post(static_cast<std::size_t>(match.slot));
        }
    }

    lib::Refusal apply(const lib::Change& change) {
        lib::Batch batch;
        batch.changes.assign({change});
        tasking.begin(std::move(batch));
        for (;;) {
            if (const auto outcome = tasking.advance()) {
                tasking.reclaim();
                return outcome->refusal;
            }
        }
    }
    lib::Change update(std::uint32_t slot, const lib::TapService& service) const {
        return lib::TapUpdated{lib::TapSlot{slot}, lib::TapId{slot + 1}, service};
    }
    lib::Change add(std::uint32_t slot, const lib::TapService& service) const {
        lib::TapDestination target;
        target.dest_port = 1;
        return lib::TapAdd{.slot = lib::TapSlot{slot},
                           .id = lib::TapId{slot + 1},
                           .criterion = {},
                           .destinations = {target},
                           .service = service};
    }
    std::uint64_t matched(std::uint32_t slot) {
        std::uint64_t sum = 0;
        for (std::uint16_t worker = 0; worker < workers; ++worker) {
            sum +=
                status.taps(worker)[slot][lib::TapCounter::matched_packets].load(std::memory_order_relaxed);
        }
        return sum;
    }
    /// Until the tap is told of. A worker counts before it says so, and others have counted before theirs was
    /// the last.
    void wait_over(std::uint32_t slot) {
        for (;;) {
            for (const auto& told : tasking.take_over()) {
                if (told.slot == lib::TapSlot{slot}) {
                    return;
                }
            }
            std::this_thread::yield();
        }
    }
    /// Counts of all workers are in: whatever they were doing, they have done.
    void settle() {
        const match::Period period = quiescence.next_period();
        while (!quiescence.passed(period)) {
            std::this_thread::yield();
        }
    }
    void wait_matched(std::uint32_t slot, std::uint64_t count) {
        while (matched(slot) < count) {
            std::this_thread::yield();
        }
    }
};

TEST_CASE_METHOD(Fixture, "limits hold exactly while workers run and the manager changes them",
                 "[concurrency]") {
    REQUIRE(apply(add(0, {.packet_limit = 500})) == lib::Refusal::none);
    REQUIRE(apply(add(1, {})) == lib::Refusal::none);
    REQUIRE(apply(add(2, {.byte_limit = 70'050})) == lib::Refusal::none);
    wait_over(0);
    settle();
    CHECK(matched(0) == 500);
    for (std::uint64_t round = 1; round <= 60; ++round) {
        // A limit raised, by packets or bytes.
        const std::uint64_t limit = 500 + round * 300;
        REQUIRE(apply(update(0, round % 2 == 0 ? lib::TapService{.packet_limit = limit}
                                               : lib::TapService{.byte_limit = limit * packet + 50})) ==
                lib::Refusal::none);
        wait_over(0);
        settle();
        REQUIRE(matched(0) == limit);
    }
    CHECK(matched(2) == 700);  // 70,000 bytes: one packet more would go beyond
}

TEST_CASE_METHOD(Fixture, "a first limit counts every match of before, and stops exactly", "[concurrency]") {
    std::size_t ahead = 0;
    std::uint64_t room = 100'000;
    for (std::uint32_t slot = 0; slot < 10; ++slot) {
        REQUIRE(apply(add(slot, {})) == lib::Refusal::none);
        for (int turn = 0; turn < 3; ++turn) {
            const std::uint64_t before = matched(slot);
            wait_matched(slot, before + 300);
            const std::uint64_t limit = matched(slot) + room;
            REQUIRE(apply(update(slot, {.packet_limit = limit})) == lib::Refusal::none);
            wait_over(slot);
            settle();
            // The workers may have gone by the limit before it was there.
            const std::uint64_t total = matched(slot);
            REQUIRE(total >= limit);
            if (total == limit) {
                ++ahead;
            } else {
                room *= 2;
            }
            REQUIRE(apply(update(slot, {.packet_limit = total + 1000})) == lib::Refusal::none);
            wait_over(slot);
            settle();
            REQUIRE(matched(slot) == total + 1000);
            REQUIRE(apply(update(slot, {})) == lib::Refusal::none);
        }
        REQUIRE(apply(lib::TapRemove{lib::TapSlot{slot}, lib::TapId{slot + 1}}) == lib::Refusal::none);
    }
    CHECK(ahead > 0);
}

}  // namespace
