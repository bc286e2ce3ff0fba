// The rate limit: no 60 seconds whatever see more admissions than the limit.
#include "control/ssh/rate_limit.h"

#include <catch2/catch.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <random>

namespace flowtap::control::ssh {
namespace {

using namespace std::chrono_literals;

constexpr RateLimit::TimePoint start{1'000'000s};

TEST_CASE("the limit is admitted at once, and not one more", "[dtcp:1.rate-limit]") {
    RateLimit limit(3);
    REQUIRE(limit.admit(start));
    REQUIRE(limit.admit(start));
    REQUIRE(limit.admit(start));
    REQUIRE_FALSE(limit.admit(start));
    REQUIRE_FALSE(limit.admit(start + 59'999ms));
}

TEST_CASE("an admission is forgotten after exactly a minute, one by one", "[dtcp:1.rate-limit]") {
    RateLimit limit(2);
    REQUIRE(limit.admit(start));
    REQUIRE(limit.admit(start + 30s));
    REQUIRE_FALSE(limit.admit(start + 60s - 1ns));
    REQUIRE(limit.admit(start + 60s));
    REQUIRE_FALSE(limit.admit(start + 60s));
    REQUIRE(limit.admit(start + 90s));
}

TEST_CASE("refused attempts do not push the next admission back") {
    RateLimit limit(1);
    REQUIRE(limit.admit(start));
    for (auto at = start + 1s; at < start + 60s; at += 1s) {
        REQUIRE_FALSE(limit.admit(at));
    }
    REQUIRE(limit.admit(start + 60s));
}

TEST_CASE("it is idle when its newest admission is a minute old, wherever that stands in the ring") {
    RateLimit limit(2);
    CHECK(limit.idle(start));
    REQUIRE(limit.admit(start));
    REQUIRE(limit.admit(start + 10s));
    REQUIRE(limit.admit(start + 61s));
    CHECK(limit.full(start + 69s));
    CHECK_FALSE(limit.full(start + 70s));
    CHECK_FALSE(limit.idle(start + 121s - 1ns));
    CHECK(limit.idle(start + 121s));
}

TEST_CASE("any sequence of attempts agrees with a log of the last minute", "[dtcp:1.rate-limit]") {
    std::mt19937 random(20260607);
    for (const auto most : std::to_array<std::uint16_t>({1, 2, 150, 250})) {
        RateLimit limit(most);
        std::deque<RateLimit::TimePoint> admitted;
        auto now = start;
        for (int i = 0; i < 20'000; ++i) {
            now += std::chrono::milliseconds(random() % (120'000U / most));
            while (!admitted.empty() && now - admitted.front() >= 60s) {
                admitted.pop_front();
            }
            const bool expected = admitted.size() < most;
            REQUIRE(limit.full(now) == !expected);
            REQUIRE(limit.idle(now) == admitted.empty());
            REQUIRE(limit.admit(now) == expected);
            if (expected) {
                admitted.push_back(now);
            }
        }
    }
}

}  // namespace
}  // namespace flowtap::control::ssh
