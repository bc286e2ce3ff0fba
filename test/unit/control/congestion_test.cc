// Limits of content destinations: when they are passed, and what has to go.
#include "control/congestion.h"

#include <catch2/catch.hpp>

#include <random>

namespace flowtap::test {

namespace {

using control::choose_purge;
using control::LoadedTap;
using control::SoftLimit;
using lib::TapSlot;
using Slots = std::vector<TapSlot>;

}  // namespace

TEST_CASE("congestion: a limit is told once when it is passed, and again after nine tenths",
          "[congestion][dtcp:9.580]") {
    SoftLimit limit;
    CHECK_FALSE(limit.passed(1000, 1000));
    CHECK(limit.passed(1001, 1000));
    CHECK_FALSE(limit.passed(5000, 1000));
    CHECK_FALSE(limit.passed(901, 1000));
    CHECK_FALSE(limit.passed(1001, 1000));
    CHECK_FALSE(limit.passed(900, 1000));
    CHECK(limit.passed(1001, 1000));
}

TEST_CASE("congestion: the lowest priority goes first, the newest first among equals, no more than needed",
          "[congestion][dtcp:9.680]") {
    const std::vector<LoadedTap> taps{{TapSlot{0}, 5, 10, 100},
                                      {TapSlot{1}, 1, 10, 100},
                                      {TapSlot{2}, 1, 30, 100},
                                      {TapSlot{3}, 1, 20, 100},
                                      {TapSlot{4}, 255, 40, 100}};
    CHECK(choose_purge(taps, 500).empty());
    CHECK(choose_purge(taps, 499) == Slots{TapSlot{2}});
    CHECK(choose_purge(taps, 400) == Slots{TapSlot{2}});
    CHECK(choose_purge(taps, 399) == Slots{TapSlot{2}, TapSlot{3}});
    CHECK(choose_purge(taps, 200) == Slots{TapSlot{2}, TapSlot{3}, TapSlot{1}});
    CHECK(choose_purge(taps, 100) == Slots{TapSlot{2}, TapSlot{3}, TapSlot{1}, TapSlot{0}});
    CHECK(choose_purge(taps, 0).size() == 5);
}

TEST_CASE("congestion: a tap that carries nothing is left alone", "[congestion]") {
    CHECK(choose_purge({{TapSlot{0}, 1, 1, 0}, {TapSlot{1}, 9, 2, 100}}, 50) == Slots{TapSlot{1}});
}

TEST_CASE("congestion: what is left is within the limit, and would not be with any last one kept",
          "[congestion][dtcp:9.680]") {
    std::mt19937 random{7};  // NOLINT: the same every time
    for (int round = 0; round < 500; ++round) {
        std::vector<LoadedTap> taps;
        for (std::uint32_t i = 0; i < random() % 20; ++i) {
            taps.push_back(
                {TapSlot{i}, static_cast<std::uint8_t>(1 + random() % 3), random() % 5, random() % 100});
        }
        const control::Bandwidth limit = random() % 1000;
        control::Bandwidth left = 0;
        for (const auto& tap : taps) {
            left += tap.average;
        }
        const auto chosen = choose_purge(taps, limit);
        for (std::size_t i = 0; i < chosen.size(); ++i) {
            REQUIRE(left > limit);
            left -= taps[static_cast<std::size_t>(chosen[i])].average;
        }
        REQUIRE(left <= limit);
    }
}

}  // namespace flowtap::test
