#include "control/criteria_ids.h"

#include "test/unit/control/scratch.h"

#include <catch2/catch.hpp>

#include <set>

namespace flowtap::test {

using control::CriteriaIds;
using control::IdPermutation;

TEST_CASE("the permutation gives 200,000 different numbers in 1..2^31-1, at both ends of the domain too",
          "[dtcp:3.isolation-ids]") {
    auto permutation = IdPermutation::create({1, 2, 3}).value();
    std::set<std::uint64_t> seen;
    for (std::uint64_t i = 1; i <= 100'000; ++i) {
        seen.insert(permutation(i));
        seen.insert(permutation(control::criteria_id_count + 1 - i));
    }
    CHECK(seen.size() == 200'000);
    CHECK(*seen.begin() >= 1);
    CHECK(*seen.rbegin() <= control::criteria_id_count);
}

TEST_CASE("consecutive Criteria-IDs tell nothing: neither order nor distance", "[dtcp:3.isolation-ids]") {
    auto permutation = IdPermutation::create({9}).value();
    int rising = 0;
    int near = 0;
    std::uint64_t last = permutation(1);
    for (std::uint64_t i = 2; i <= 10'001; ++i) {
        const auto id = permutation(i);
        rising += id > last ? 1 : 0;
        near += (id > last ? id - last : last - id) < control::criteria_id_count / 1000 ? 1 : 0;
        last = id;
    }
    // Of random numbers: 5,000 rise (sigma below 50), 20 are within a thousandth (sigma 4.5).
    CHECK(rising > 4'700);
    CHECK(rising < 5'300);
    CHECK(near < 50);
}

TEST_CASE("two boxes give different numbers", "[dtcp:3.isolation-ids]") {
    const Scratch one;
    const Scratch other;
    CHECK(CriteriaIds::open(one.path())->take().value() != CriteriaIds::open(other.path())->take().value());
}

TEST_CASE("a Criteria-ID is never given out again, however often the process starts anew",
          "[dtcp:3.isolation-ids]") {
    const Scratch scratch;
    std::set<std::uint64_t> seen;
    std::size_t taken = 0;
    for (int life = 0; life < 20; ++life) {
        auto ids = CriteriaIds::open(scratch.path());
        REQUIRE(ids.has_value());
        for (int i = 0; i < life * 150; ++i, ++taken) {
            seen.insert(static_cast<std::uint64_t>(ids->take().value()));
        }
    }
    CHECK(seen.size() == taken);
}

TEST_CASE("no number is given out that is not on the medium as used") {
    const Scratch scratch;
    auto ids = CriteriaIds::open(scratch.path());
    REQUIRE(ids.has_value());
    std::filesystem::create_directory(scratch / "criteria-ids.new");
    CHECK_FALSE(ids->take().has_value());
    std::filesystem::remove(scratch / "criteria-ids.new");
    CHECK(ids->take().has_value());
}

}  // namespace flowtap::test
