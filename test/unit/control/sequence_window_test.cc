// The rules of dtcp.md section 3 about sequence numbers.
#include "control/sequence_window.h"

#include <catch2/catch.hpp>

#include <limits>
#include <random>
#include <set>
#include <vector>

namespace flowtap::test {

namespace {

using control::SequenceVerdict;
using control::SequenceWindow;

constexpr std::uint64_t top = std::numeric_limits<std::uint64_t>::max();

SequenceWindow started(std::uint64_t number) {
    SequenceWindow window;
    REQUIRE(window.accept(number) == SequenceVerdict::accepted);
    return window;
}

}  // namespace

TEST_CASE("sequence: the first number may be any, and none comes twice",
          "[sequence][dtcp:3.seq-64-bit][dtcp:3.seq-seen]") {
    for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 40, top}) {
        auto window = started(first);
        CHECK(window.accept(first) == SequenceVerdict::seen);
    }
}

TEST_CASE("sequence: a step ahead is at most 256", "[sequence][dtcp:3.seq-step]") {
    auto window = started(1000);
    CHECK(window.accept(1257) == SequenceVerdict::too_far);
    CHECK(window.check(1256) == SequenceVerdict::accepted);
    CHECK(window.accept(1256) == SequenceVerdict::accepted);
    CHECK(window.accept(1512) == SequenceVerdict::accepted);
    CHECK(window.accept(1513) == SequenceVerdict::accepted);
    CHECK(window.accept(top) == SequenceVerdict::too_far);
}

TEST_CASE("sequence: 256 numbers behind are accepted, once each",
          "[sequence][dtcp:3.seq-behind][dtcp:3.seq-seen]") {
    auto window = started(1000);
    CHECK(window.accept(743) == SequenceVerdict::too_old);
    for (std::uint64_t number = 744; number < 1000; ++number) {
        REQUIRE(window.accept(number) == SequenceVerdict::accepted);
    }
    for (std::uint64_t number = 744; number <= 1000; ++number) {
        REQUIRE(window.accept(number) == SequenceVerdict::seen);
    }
    CHECK(window.accept(0) == SequenceVerdict::too_old);
}

TEST_CASE("sequence: what is refused moves nothing", "[sequence]") {
    auto window = started(1000);
    const auto before = window.state();
    for (const std::uint64_t number : {std::uint64_t{1257}, std::uint64_t{743}, std::uint64_t{1000}, top}) {
        window.accept(number);
    }
    CHECK(window.state() == before);
}

TEST_CASE("sequence: numbers pass zero from the top only, and it is told", "[sequence][dtcp:3.seq-wrap]") {
    auto window = started(top - 1);
    CHECK(window.accept(254) == SequenceVerdict::rollover);
    CHECK(window.accept(top) == SequenceVerdict::accepted);  // behind, over the wrap
    CHECK(window.accept(top) == SequenceVerdict::seen);
    CHECK(window.accept(top - 1) == SequenceVerdict::seen);
    CHECK(window.accept(0) == SequenceVerdict::accepted);
    CHECK(window.accept(255) == SequenceVerdict::accepted);  // no second rollover

    // A source that begins low has never been at the top.
    auto low = started(5);
    CHECK(low.accept(top) == SequenceVerdict::seen);
    CHECK(low.accept(4) == SequenceVerdict::accepted);
    CHECK(low.accept(0) == SequenceVerdict::accepted);
    CHECK(low.accept(top - 100) == SequenceVerdict::seen);
}

TEST_CASE("sequence: after a number, nothing up to it is accepted", "[sequence]") {
    auto window = SequenceWindow::after(1000);
    CHECK(window.accept(1000) == SequenceVerdict::seen);
    CHECK(window.accept(999) == SequenceVerdict::seen);
    CHECK(window.accept(700) == SequenceVerdict::too_old);
    CHECK(window.accept(1257) == SequenceVerdict::too_far);
    CHECK(window.accept(1002) == SequenceVerdict::accepted);
    CHECK(window.accept(1001) == SequenceVerdict::accepted);
}

TEST_CASE("sequence: a window agrees with a list of all numbers ever seen",
          "[sequence][dtcp:3.seq-step][dtcp:3.seq-behind]") {
    std::mt19937_64 random{20260101};  // NOLINT: the same every time
    for (const std::uint64_t start : {std::uint64_t{1'000'000}, top - 2'000}) {
        auto window = started(start);
        // Wide numbers that do not wrap: the model has no modulus.
        __extension__ using Wide = unsigned __int128;
        const Wide first = start;
        Wide highest = first;
        std::set<std::uint64_t> seen;  // by distance from the origin
        const Wide origin = first - 1'000'000;
        seen = {static_cast<std::uint64_t>(first - origin)};
        for (int step = 0; step < 20'000; ++step) {
            const Wide number = highest - 300 + random() % 600;
            const auto place = static_cast<std::uint64_t>(number - origin);
            const bool fresh = !seen.contains(place);
            const bool inside = number > highest ? number - highest <= 256 : highest - number <= 256;
            const bool accepted = is_accepted(window.accept(static_cast<std::uint64_t>(number)));
            REQUIRE(accepted == (fresh && inside));
            if (accepted) {
                seen.insert(place);
                highest = std::max(highest, number);
            }
        }
    }
}

}  // namespace flowtap::test
