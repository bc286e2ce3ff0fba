// A bound on frames a second, whatever the clock does.
#include "dataplane/slow_path/frame_budget.h"

#include <catch2/catch.hpp>

#include <limits>

namespace {

using flowtap::dataplane::slow_path::FrameBudget;

std::uint64_t taken(FrameBudget& budget) {
    std::uint64_t count = 0;
    while (budget.take()) {
        ++count;
    }
    return count;
}

constexpr std::uint64_t second = 1'000'000'000;

TEST_CASE("a budget begins full, and a storm gets no more than its rate") {
    FrameBudget budget(1000, 50);
    std::uint64_t now = 77 * second;
    budget.advance(now);
    CHECK(taken(budget) == 50);
    std::uint64_t count = 0;
    for (int turn = 0; turn < 10'000; ++turn) {  // of 300 microseconds: a frame every third or fourth turn
        budget.advance(now += 300'000);
        count += taken(budget);
    }
    CHECK(count == 3000);
}

TEST_CASE("a quiet time, however long, saves no more than one burst") {
    FrameBudget budget(1000, 50);
    budget.advance(second);
    CHECK(taken(budget) == 50);
    for (const std::uint64_t quiet : {second, 3600 * second, std::numeric_limits<std::uint64_t>::max() / 2}) {
        static std::uint64_t now = second;
        budget.advance(now += quiet);
        CHECK(taken(budget) == 50);
        CHECK_FALSE(budget.any());
    }
}

}  // namespace
