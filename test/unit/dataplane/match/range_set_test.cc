#include "dataplane/match/range_set.h"

#include <catch2/catch.hpp>

#include <bitset>
#include <cstdint>
#include <limits>
#include <random>

namespace flowtap::test {
namespace {

using namespace dataplane::match;
using Set = RangeSet<std::uint8_t>;
using Bits = std::bitset<256>;

Set random_ranges(std::mt19937& random, std::size_t count) {
    Set set;
    for (std::size_t i = 0; i < count; ++i) {
        auto first = static_cast<std::uint8_t>(random());
        auto last = random() % 2 == 0 ? static_cast<std::uint8_t>(first + random() % 4)
                                      : static_cast<std::uint8_t>(random());
        if (random() % 8 == 0) {
            last = 255;
        }
        if (first > last) {
            std::swap(first, last);
        }
        set.push_back({first, last});
    }
    return set;
}

Bits bits_of(const Set& set) {
    Bits bits;
    for (const auto& range : set) {
        for (int value = range.first; value <= range.last; ++value) {
            bits.set(static_cast<std::size_t>(value));
        }
    }
    return bits;
}

void require_sorted_and_apart(const Set& set) {
    for (std::size_t i = 0; i < set.size(); ++i) {
        REQUIRE(set[i].first <= set[i].last);
        REQUIRE((i == 0 || set[i].first > set[i - 1].last + 1));
    }
}

TEST_CASE("normalised ranges are the same set, sorted and apart", "[range_set]") {
    std::mt19937 random(1);
    for (int i = 0; i < 5'000; ++i) {
        Set set = random_ranges(random, random() % 12);
        const Bits before = bits_of(set);
        normalise(set);
        REQUIRE(bits_of(set) == before);
        require_sorted_and_apart(set);
    }
}

TEST_CASE("a difference has what the first set has and the second has not", "[range_set]") {
    std::mt19937 random(2);
    for (int i = 0; i < 20'000; ++i) {
        Set set = random_ranges(random, random() % 8);
        Set holes = random_ranges(random, random() % 8);
        normalise(set);
        normalise(holes);
        Set result{{1, 2}};
        subtract(set, holes, result);
        REQUIRE(bits_of(result) == (bits_of(set) & ~bits_of(holes)));
        require_sorted_and_apart(result);
    }
}

TEST_CASE("the ends of the number range do not wrap", "[range_set]") {
    using Wide = RangeSet<std::uint32_t>;
    constexpr std::uint32_t max = std::numeric_limits<std::uint32_t>::max();
    Wide set{{max, max}, {0, 0}, {1, max - 1}};
    normalise(set);
    REQUIRE(set.size() == 1);
    CHECK(set[0].first == 0);
    CHECK(set[0].last == max);
    Wide rest;
    subtract(set, Wide{{0, 0}, {max, max}}, rest);
    REQUIRE(rest.size() == 1);
    CHECK(rest[0].first == 1);
    CHECK(rest[0].last == max - 1);
    subtract(set, set, rest);
    CHECK(rest.empty());
}

}  // namespace
}  // namespace flowtap::test
