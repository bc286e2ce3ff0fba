// A destination's rate: never more than rate * time + burst-size in any stretch of time, and no less than the
// rate while there is demand.
#include "dataplane/rate_limits.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace {

using namespace flowtap::dataplane;
namespace lib = flowtap::lib;

constexpr std::uint64_t clock_rate = 1'000'000;  // ticks a second

std::vector<lib::DestinationConfig> limited(std::uint64_t rate, std::uint32_t burst) {
    std::vector<lib::DestinationConfig> all(3);
    all[1].rate_limit = rate;
    all[1].burst_size = burst;
    return all;
}

/// Bytes that passed at a tick.
struct Passed {
    std::uint64_t now = 0;
    std::uint64_t bytes = 0;
};

/// In no stretch between two of them more than may be. The greatest excess over rate * time ends where it
/// ends: one pass finds it.
bool within(const std::vector<Passed>& passed, std::uint64_t rate, std::uint64_t burst) {
    const long double per_tick = static_cast<long double>(rate) / 8 / clock_rate;
    long double before = 0;  // of all that passed earlier, less what the rate allows until then
    long double lowest = 0;
    long double most = 0;
    for (const Passed& each : passed) {
        const long double allowed = per_tick * static_cast<long double>(each.now);
        lowest = std::min(lowest, before - allowed);
        before += static_cast<long double>(each.bytes);
        most = std::max(most, before - allowed - lowest);
    }
    return most <= static_cast<long double>(burst);
}

TEST_CASE("only a destination with a rate-limit has one") {
    const RateLimits limits(limited(8000, 131'072), 2, {clock_rate, 0});
    CHECK_FALSE(limits.has(0));
    CHECK(limits.has(1));
    CHECK_FALSE(limits.has(2));
    CHECK_FALSE(limits.has(3));
    CHECK_FALSE(limits.has(lib::other_account));
}

TEST_CASE("no more than the burst-size passes at once, and hardly less; then the rate") {
    // One worker's batch is taken from the depth, and in its hand.
    const RateLimits limits(limited(8'000'000, 131'072), 1, {clock_rate, 1000});
    RateAllowances worker(limits);
    std::uint64_t now = 1000;
    const auto clock = [&] { return now; };
    std::uint64_t passed = 0;
    for (int i = 0; i < 1000; ++i) {
        passed += worker.spend(1, 1000, clock) ? 1000U : 0U;
    }
    CHECK(passed <= 131'072);
    CHECK(passed + 16'384 + 1000 >= 131'072);
    for (int i = 0; i < 100; ++i) {
        now += 1000;  // 1,000 bytes
        CHECK(worker.spend(1, 1000, clock));
        CHECK_FALSE(worker.spend(1, 1000, clock));
    }
}

TEST_CASE("the longest IP packet passes the smallest bucket, with as many workers as there may be") {
    const RateLimits limits(limited(8'000'000, 131'072), lib::max_workers, {clock_rate, 0});
    RateAllowances worker(limits);
    CHECK(worker.spend(1, 65'535, [] { return std::uint64_t{0}; }));
}

TEST_CASE("workers by turns: never over in any stretch of time, whoever idles with what in hand") {
    std::mt19937 random(7);
    for (const std::size_t workers : {1U, 2U, 5U, 64U}) {
        for (const std::uint64_t rate : {1'000ULL, 3'333'333ULL, 8'000'000ULL, 40'000'000'000ULL}) {
            constexpr std::uint32_t burst = 200'000;
            const RateLimits limits(limited(rate, burst), workers, {clock_rate, 0});
            std::vector<RateAllowances> hands(workers, RateAllowances(limits));
            std::uint64_t now = 0;
            std::vector<Passed> passed;
            for (int i = 0; i < 20'000; ++i) {
                now += random() % 4 == 0 ? random() % 200 : 0;
                now += random() % 1000 == 0 ? random() % 1'000'000 : 0;  // all idle
                const auto bytes = static_cast<std::uint32_t>(20 + random() % 9000);
                if (hands[random() % workers].spend(1, bytes, [&] { return now; })) {
                    passed.push_back({now, bytes});
                }
            }
            INFO(workers << " workers, " << rate << " bit/s, " << passed.size());
            CHECK(within(passed, rate, burst));
        }
    }
}

TEST_CASE("with demand all the time, what passes is the rate") {
    constexpr std::uint64_t rate = 80'000'000;  // 10 bytes a tick
    constexpr std::uint32_t burst = 150'000;
    const RateLimits limits(limited(rate, burst), 3, {clock_rate, 0});
    std::vector<RateAllowances> hands(3, RateAllowances(limits));
    std::mt19937 random(3);
    std::uint64_t passed = 0;
    std::uint64_t now = 0;
    for (; now < clock_rate; now += 50) {  // twice as much is asked for
        passed += hands[random() % 3].spend(1, 1000, [&] { return now; }) ? 1000U : 0U;
    }
    CHECK(passed >= now * 10 - 1000);
    CHECK(passed <= now * 10 + burst);
}

TEST_CASE("a worker whose clock is behind another's gets nothing twice") {
    TokenBucket bucket({.rate = 8'000'000, .depth = 1001, .clock = clock_rate}, 0);
    CHECK(bucket.take(1, 1000, 500) == 1000);
    CHECK(bucket.take(1, 1000, 400) == 0);
    CHECK(bucket.take(1, 1000, 501) == 1);
    CHECK(bucket.take(1, 1000, 0) == 0);
    CHECK(bucket.take(501, 1000, 1000) == 0);
    CHECK(bucket.take(499, 1000, 1000) == 499);
}

TEST_CASE("slow and fast, over a long time: never over, and short by less than a packet") {
    constexpr std::uint64_t cycles = 2'500'000'000;  // a second, as a cycle counter has them
    constexpr std::uint32_t burst = 1'048'576;
    constexpr std::uint32_t packet = 1500;
    constexpr std::uint64_t steps = 20'000;
    for (const std::uint64_t rate :
         {1'000ULL, 64'000ULL, 33'333'333ULL, 10'000'000'000ULL, 400'000'000'000ULL}) {
        const std::uint64_t start = 77;
        const RateLimits limits(limited(rate, burst), 1, {cycles, start});
        RateAllowances worker(limits);
        // A third of the bucket's depth a step: nothing is lost at its rim.
        const std::uint64_t step = std::uint64_t{burst / 3} * 8 * cycles / rate;
        std::uint64_t passed = 0;
        for (std::uint64_t i = 0; i < steps; ++i) {
            const std::uint64_t now = start + i * step;
            while (worker.spend(1, packet, [&] { return now; })) {
                passed += packet;
            }
            const long double allowed =
                static_cast<long double>(i * step) / cycles * static_cast<long double>(rate) / 8;
            const auto sum = static_cast<long double>(passed);
            INFO(rate << " bit/s, step " << i << ", passed " << passed);
            REQUIRE(sum <= allowed + burst);
            // What is kept back for the worker's hand is the most that the start may lack.
            REQUIRE(sum + packet > allowed + burst - 65'536 - 2);
        }
    }
}

TEST_CASE("a year's silence is worth a full bucket, and counts are whole for years at the highest rate") {
    constexpr std::uint64_t cycles = 2'500'000'000;
    constexpr std::uint64_t year = cycles * 365 * 86'400;
    constexpr std::uint32_t burst = 1'000'000;
    const RateLimits limits(limited(1'000'000'000'000, burst), 1, {cycles, 0});
    RateAllowances worker(limits);
    for (const std::uint64_t now : {0 * year, year, 2 * year, 3 * year}) {
        std::uint64_t passed = 0;
        while (worker.spend(1, 1000, [&] { return now; })) {
            passed += 1000;
        }
        CHECK(passed <= burst);
        CHECK(passed + 65'536 + 1000 >= burst);
    }
}

TEST_CASE(
    "a clock that jumps ahead gives a burst; one that jumps back gives nothing until it is there again") {
    constexpr std::uint32_t burst = 200'000;
    const RateLimits limits(limited(8'000'000, burst), 1, {clock_rate, 0});  // a byte a tick
    RateAllowances worker(limits);
    const auto drain = [&](std::uint64_t now) {
        std::uint64_t passed = 0;
        while (worker.spend(1, 100, [&] { return now; })) {
            passed += 100;
        }
        return passed;
    };
    drain(0);
    const std::uint64_t ahead = 1'000'000'000;
    CHECK(drain(ahead) <= burst);
    CHECK(drain(1000) == 0);
    CHECK(drain(0) == 0);
    CHECK(drain(ahead) == 0);
    CHECK(drain(ahead + 1000) == 1000);
}

/// Meant for TSan, too.
TEST_CASE("workers at the same time: all that passes is all that there is") {
    constexpr std::size_t workers = 4;
    constexpr std::uint32_t burst = 400'000;
    constexpr std::uint64_t rate = 8'000'000;  // a byte a tick
    const RateLimits limits(limited(rate, burst), workers, {clock_rate, 0});
    std::atomic<std::uint64_t> time = 0;
    std::atomic<std::uint64_t> passed = 0;
    constexpr std::uint64_t end = 2'000'000;
    {
        std::vector<std::jthread> threads;
        for (std::size_t worker = 0; worker < workers; ++worker) {
            threads.emplace_back([&, worker] {
                RateAllowances hand(limits);
                std::mt19937 random(static_cast<unsigned>(worker));
                std::uint64_t mine = 0;
                while (time.fetch_add(11) < end) {
                    const auto bytes = static_cast<std::uint32_t>(20 + random() % 1480);
                    mine += hand.spend(1, bytes, [&] { return time.load(); }) ? bytes : 0;
                }
                passed += mine;
            });
        }
    }
    CHECK(passed <= time + burst);
    // What is left is in hand, or less than a packet, or was beyond the full bucket at the start.
    CHECK(passed + workers * 12'500 + 1500 >= end);
}

}  // namespace
