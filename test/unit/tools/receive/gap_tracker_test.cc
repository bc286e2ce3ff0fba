#include "tools/receive/gap_tracker.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <set>
#include <vector>

namespace flowtap::test {
namespace {

using tools::receive::counter_of;
using tools::receive::GapTracker;
using tools::receive::Range;

/// The gaps of a set of numbers, found the slow way.
std::vector<Range> gaps_of(const std::set<std::uint64_t>& seen) {
    std::vector<Range> gaps;
    std::uint64_t before = *seen.begin();
    for (const std::uint64_t number : seen) {
        if (number > before + 1 && number >> 32 == before >> 32) {
            gaps.push_back({before + 1, number - 1});
        }
        before = number;
    }
    return gaps;
}

TEST_CASE("gaps, their sum and repeats are those of the set of numbers, in whatever order they come") {
    std::mt19937_64 random(11);
    for (int round = 0; round < 200; ++round) {
        GapTracker tracker;
        std::set<std::uint64_t> seen;
        std::uint64_t repeats = 0;
        std::uint64_t base = 1;
        for (int i = 0; i < 300; ++i) {
            if (random() % 100 == 0) {
                base = (std::uint64_t{random() % 3} << 32) + 1 + random() % 100;
            }
            const std::uint64_t number = base + random() % (random() % 20 == 0 ? 1000 : 40);
            base += random() % 3;
            tracker.add(number);
            repeats += seen.insert(number).second ? 0U : 1U;
            const auto expected = gaps_of(seen);
            REQUIRE(tracker.gaps() == expected);
            REQUIRE(tracker.missing() ==
                    std::accumulate(expected.begin(), expected.end(), std::uint64_t{0},
                                    [](std::uint64_t sum, const Range& gap) { return sum + gap.size(); }));
            REQUIRE(tracker.duplicates() == repeats);
        }
    }
}

TEST_CASE("nothing seen is nothing missing") {
    const GapTracker tracker;
    CHECK(tracker.gaps().empty());
    CHECK(tracker.seen().empty());
    CHECK(tracker.missing() == 0);
}

TEST_CASE("a sender's restart in a new block of its counter is no gap") {
    GapTracker tracker;
    for (const std::uint64_t number : {5UL, 6UL, 8UL, (1UL << 32) + 1, (1UL << 32) + 2, (7UL << 32) + 3}) {
        tracker.add(number);
    }
    CHECK(tracker.gaps() == std::vector<Range>{{7, 7}});
    CHECK(tracker.seen() ==
          std::vector<Range>{{5, 8}, {(1UL << 32) + 1, (1UL << 32) + 2}, {(7UL << 32) + 3, (7UL << 32) + 3}});
}

TEST_CASE("the highest sequence number is one like any other") {
    GapTracker tracker;
    tracker.add(UINT32_MAX);
    tracker.add(UINT32_MAX - 2);
    CHECK(tracker.gaps() == std::vector<Range>{{UINT32_MAX - 1, UINT32_MAX - 1}});
    tracker.add(UINT32_MAX - 1);
    tracker.add(UINT32_MAX);
    CHECK(tracker.gaps().empty());
    CHECK(tracker.duplicates() == 1);
}

TEST_CASE("the counter is the IV where the IV is one") {
    CHECK(counter_of(5, (std::uint64_t{3} << 32) + 5) == (std::uint64_t{3} << 32) + 5);
    CHECK(counter_of(5, 5) == 5);
    CHECK(counter_of(5, 0x1234567890abcdef) == 5);
}

}  // namespace
}  // namespace flowtap::test
