// Random criteria against random frames: the table finds exactly the taps that the reference finds. A
// comparison of one frame with one tap is a decision; FLOWTAP_DECISIONS=N asks for at least N of them,
// FLOWTAP_LONG for 100 million.
#include "test/unit/dataplane/match/table_fixture.h"

#include <cstdlib>
#include <numeric>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

std::size_t wanted_decisions() {
    if (const char* const text = std::getenv("FLOWTAP_DECISIONS"); text != nullptr) {
        return std::strtoull(text, nullptr, 10);
    }
    return std::getenv("FLOWTAP_LONG") != nullptr ? 100'000'000 : 2'000'000;
}

std::vector<RandomTraffic::Sample> samples(RandomTraffic& traffic, std::size_t count) {
    std::vector<RandomTraffic::Sample> made(count);
    std::ranges::generate(made,
                          [&] { return traffic.chance(85) ? traffic.frame() : traffic.strange_frame(); });
    return made;
}

std::uint16_t port(RandomTraffic& traffic) {
    return static_cast<std::uint16_t>(traffic.below(5));
}

/// Of each table after it is filled: a decision is cheap where there are many taps, and says little if all
/// are of a few frames.
constexpr std::size_t least_frames = 128;

// Adds the population in batches of random size, then exchanges a part of it again and again, with checks
// between.
struct Tally {
    std::size_t decisions = 0;
    std::size_t hits = 0;

    Tally& operator+=(const Tally& other) {
        decisions += other.decisions;
        hits += other.hits;
        return *this;
    }
};

Tally run(std::uint64_t seed, std::uint32_t population, Simd simd, std::size_t rounds) {
    CAPTURE(seed, population, to_string(simd));
    RandomTraffic traffic(seed, std::max<std::size_t>(3, population / 20));
    CheckedTable table({.max_taps = population, .simd = simd, .seed = seed});
    REQUIRE(table.table.simd() == simd);
    REQUIRE(table.quiescence.join(0));
    // With many taps that have no address every frame would match them all.
    const auto criterion = [&] {
        const bool wild = population < 1000 || traffic.below(500) == 0;
        lib::Criterion made;
        if (wild && traffic.chance(20)) {
            made.layer2 = true;
        } else {
            made = traffic.criterion(wild);
        }
        if (made.layer2 || traffic.chance(30)) {
            made.interfaces = traffic.interfaces();
        }
        return made;
    };
    std::size_t decisions = 0;
    for (std::uint32_t slot = 0; slot < population; ++slot) {
        table.add(slot, criterion());
        if (traffic.below(population / 4 + 1) == 0) {
            (void)table.commit();
            decisions += table.check(samples(traffic, 4), port(traffic));
        }
    }
    (void)table.commit();
    std::size_t frames = 0;
    for (std::size_t round = 0; round < rounds || frames < least_frames; ++round) {
        const std::size_t burst = 1 + traffic.below(max_burst);
        decisions += table.check(samples(traffic, burst), port(traffic));
        frames += burst;
        table.quiescence.quiescent(0);
        (void)table.table.reclaim(traffic.below(200));
        for (std::uint64_t changes = traffic.below(population / 10 + 2); changes > 0; --changes) {
            const auto slot = static_cast<std::uint32_t>(traffic.below(population));
            if (table.holds(slot)) {
                table.remove(slot);
            }
            if (traffic.chance(70)) {
                table.add(slot, criterion());
            }
        }
        if (traffic.chance(20)) {
            table.rollback();
        } else {
            (void)table.commit();
        }
    }
    return {decisions, table.hits()};
}

Tally run_all(std::uint64_t seed) {
    Tally tally;
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (!supported(simd)) {
            WARN("this processor has no " << to_string(simd));
            continue;
        }
        for (std::uint64_t i = 0; i < 10; ++i) {
            tally += run(seed * 1000 + i, 1, simd, 20);
        }
        for (std::uint64_t i = 0; i < 3; ++i) {
            tally += run(seed * 1000 + i, 100, simd, 15);
        }
        tally += run(seed * 1000, 10'000, simd, 2);
    }
    return tally;
}

TEST_CASE("the table decides as the reference does, for 1, 100 and 10,000 taps, in every variant",
          "[table][dtcp:6.elements][dtcp:6.list-meaning][dtcp:6.ports-only-there]") {
    Tally tally;
    for (std::uint64_t seed = 1; tally.decisions < wanted_decisions(); ++seed) {
        tally += run_all(seed);
    }
    CHECK(tally.decisions >= wanted_decisions());
    // A comparison of nothing with nothing would prove little.
    CHECK(tally.hits * 500 > tally.decisions);
    if (wanted_decisions() > 2'000'000) {
        WARN(tally.decisions << " decisions compared, of which " << tally.hits << " were matches");
    }
}

TEST_CASE("many taps on one host are all found, and beyond 64 counted", "[table]") {
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        RandomTraffic traffic(9, 1);
        CheckedTable table({.max_taps = 1000, .simd = simd});
        for (std::uint32_t slot = 0; slot < 300; ++slot) {
            table.add(slot, traffic.criterion(true));
            (void)table.commit();
            (void)table.check(samples(traffic, 8));
        }
    }
}

}  // namespace
}  // namespace flowtap::test
