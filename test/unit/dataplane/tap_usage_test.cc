// Workers that share a limit never go beyond it, and never stop short of it.
#include "dataplane/tap_usage.h"

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace {

namespace lib = flowtap::lib;
using flowtap::dataplane::Admission;
using flowtap::dataplane::TapUsage;

constexpr std::uint16_t workers = 4;

struct Tally {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t lasts = 0;
    std::uint64_t ends = 0;
};

/// All workers at once, each offering packets until nothing is admitted; returns what was, in all.
template <typename Size>
Tally race(TapUsage& usage, const lib::TapService& limits, TapUsage::Term term, Size size) {
    std::array<Tally, workers> tallies;
    std::atomic<int> ready = 0;
    std::vector<std::jthread> threads;
    for (std::uint16_t worker = 0; worker < workers; ++worker) {
        threads.emplace_back([&, worker] {
            std::mt19937 random(worker + 1);
            Tally tally;
            ready.fetch_add(1);
            while (ready.load() < workers) {
            }
            for (int misses = 0; misses < 50;) {
                const std::uint32_t bytes = size(random);
                const Admission admission = usage.admit(limits, term, bytes);
                const bool admitted = admission == Admission::admitted || admission == Admission::last;
                tally.packets += admitted ? 1 : 0;
                tally.bytes += admitted ? bytes : 0;
                tally.lasts += admission == Admission::last ? 1 : 0;
                tally.ends += admission == Admission::ended ? 1 : 0;
                misses += admitted ? 0 : 1;
            }
            tallies[worker] = tally;
        });
    }
    threads.clear();
    Tally total;
    for (const Tally& tally : tallies) {
        total.packets += tally.packets;
        total.bytes += tally.bytes;
        total.lasts += tally.lasts;
        total.ends += tally.ends;
    }
    return total;
}

std::uint32_t any_size(std::mt19937& random) {
    return static_cast<std::uint32_t>(20 + random() % 1500);
}

TEST_CASE("workers together admit exactly as many packets as the limit says",
          "[limits][dtcp:6.timeout-packets]") {
    for (const std::uint64_t limit : {0U, 1U, 1000U, 20'000U}) {
        TapUsage usage(true);
        const lib::TapService limits{.packet_limit = limit};
        const Tally total = race(usage, limits, 0, any_size);
        CHECK(total.packets == limit);
        CHECK(total.bytes == usage.bytes());
        CHECK(total.lasts == (limit == 0 ? 0 : 1));
        CHECK(usage.packets() == limit);
        CHECK(usage.over(limits, 0));
    }
}

TEST_CASE("workers together admit exactly as many bytes as the limit says, when packets fit it",
          "[limits][dtcp:6.timeout-bytes]") {
    TapUsage usage(true);
    const lib::TapService limits{.byte_limit = 1'000'000};
    const Tally total = race(usage, limits, 0, [](std::mt19937&) { return 100U; });
    CHECK(total.bytes == 1'000'000);
    CHECK(total.packets == 10'000);
    CHECK(usage.packets() == 10'000);
    CHECK(total.lasts == 1);
    CHECK(total.ends <= 1);
}

TEST_CASE("of two limits the first that is met ends the tap, exactly", "[limits][dtcp:6.timeout-packets]") {
    std::mt19937 random(9);
    for (int round = 0; round < 50; ++round) {
        TapUsage usage(true);
        const lib::TapService limits{.packet_limit = 500 + random() % 100, .byte_limit = 400'000};
        const Tally total = race(usage, limits, 0, any_size);
        CHECK(total.packets <= limits.packet_limit);
        CHECK(total.bytes <= limits.byte_limit);
        CHECK((total.packets == limits.packet_limit || total.bytes + 1520 > limits.byte_limit));
        CHECK(usage.packets() == total.packets);
        CHECK(usage.bytes() == total.bytes);
        CHECK(usage.over(limits, 0));
        // Told, and by two workers only if one took the last packet while the other had counted one that it
        // had to give back for its bytes.
        CHECK(total.lasts + total.ends >= 1);
        CHECK((total.lasts <= 1 && total.ends <= 1));
    }
}

TEST_CASE("a packet that goes beyond ends the tap, even for those that would fit",
          "[limits][dtcp:6.timeout-bytes]") {
    TapUsage usage(true);
    lib::TapService limits{.byte_limit = 1000};
    CHECK(usage.admit(limits, 0, 900) == Admission::admitted);
    CHECK_FALSE(usage.over(limits, 0));
    CHECK(usage.admit(limits, 0, 101) == Admission::ended);
    CHECK(usage.admit(limits, 0, 10) == Admission::refused);
    CHECK(usage.over(limits, 0));
    CHECK((usage.packets() == 1 && usage.bytes() == 900));
    // The next term has another limit, and workers that still go by the old one do not end it.
    limits.byte_limit = 1200;
    CHECK_FALSE(usage.over(limits, 1));
    CHECK(usage.admit({.byte_limit = 1000}, 0, 10) == Admission::refused);
    CHECK(usage.admit(limits, 1, 101) == Admission::admitted);
    CHECK(usage.admit(limits, 1, 199) == Admission::last);
    CHECK(usage.admit(limits, 1, 1) != Admission::admitted);
}

TEST_CASE("what workers matched before the limit counts once, whoever adds it", "[limits]") {
    for (int round = 0; round < 200; ++round) {
        TapUsage usage(false);
        std::array<std::atomic<std::uint64_t>, workers> own{};
        const lib::TapService none{};
        std::atomic<int> refused = 0;
        std::vector<std::jthread> threads;
        for (std::uint16_t worker = 0; worker < workers; ++worker) {
            own[worker].store(100U * (worker + 1U));
        }
        for (std::uint16_t worker = 0; worker < workers; ++worker) {
            threads.emplace_back([&, worker] {
                for (int i = 0; i < 50; ++i) {
                    if (!usage.has_contribution(worker)) {
                        usage.contribute(worker, own[worker].load(), own[worker].load() * 10);
                    }
                    refused.fetch_add(usage.admit(none, 0, 10) == Admission::admitted ? 0 : 1);
                    own[worker].fetch_add(1);
                }
            });
        }
        for (std::uint16_t worker = 0; worker < workers; ++worker) {  // as the manager does
            const std::uint64_t packets = own[worker].load();
            usage.contribute(worker, packets, packets * 10);
        }
        threads.clear();
        std::uint64_t sum = 0;
        for (const auto& count : own) {
            sum += count.load();
        }
        REQUIRE(refused == 0);
        REQUIRE(usage.packets() == sum);
        REQUIRE(usage.bytes() == sum * 10);
    }
}

}  // namespace
