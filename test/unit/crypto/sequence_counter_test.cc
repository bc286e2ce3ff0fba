#include "crypto/sequence_counter.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

namespace {

using flowtap::crypto::SequenceCounter;
using flowtap::crypto::Shortage;
using flowtap::lib::Lease;

constexpr std::uint64_t block = std::uint64_t{1} << 32;

TEST_CASE("the first sequence number is 1, or where the lease starts") {
    CHECK(SequenceCounter({0, block}).take(1).first == 1);
    CHECK(SequenceCounter({7, 10}).take(1).first == 7);
    CHECK(SequenceCounter({3 * block, block}).take(1).first == 3 * block + 1);
}

TEST_CASE("values follow one another without a gap, whatever is asked for") {
    SequenceCounter counter({0, block});
    std::mt19937 random(1);
    for (std::uint64_t expected = 1; expected < 100'000;) {
        const auto wanted = static_cast<std::uint32_t>(random() % 64);
        const auto range = counter.take(wanted);
        REQUIRE(range.first == expected);
        REQUIRE(range.count == wanted);
        REQUIRE(range.shortage == Shortage::none);
        expected += wanted;
        REQUIRE(counter.next() == expected);
    }
}

TEST_CASE("the lease's end is never passed, and a longer lease goes on where it stopped") {
    SequenceCounter counter({0, 11});
    CHECK(counter.take(8).count == 8);
    const auto rest = counter.take(8);
    CHECK(rest.first == 9);
    CHECK(rest.count == 2);
    CHECK(rest.shortage == Shortage::no_lease);
    CHECK(counter.take(8).count == 0);
    CHECK(counter.take(8).shortage == Shortage::no_lease);
    CHECK(counter.next() == 11);

    CHECK_FALSE(counter.extend({10, 5}));
    CHECK_FALSE(counter.extend({12, 5}));
    CHECK_FALSE(counter.extend({11, 0}));
    CHECK_FALSE(counter.extend({11, UINT64_MAX - 10}));
    CHECK(counter.lease_end() == 11);
    CHECK(counter.take(1).count == 0);

    CHECK(counter.extend({11, 5}));
    CHECK(counter.lease_end() == 16);
    const auto more = counter.take(8);
    CHECK(more.first == 11);
    CHECK(more.count == 5);
    CHECK(more.shortage == Shortage::no_lease);
}

TEST_CASE("after sequence number 2^32-1 an SA is finished, even with a lease that goes on") {
    for (const std::uint64_t start : {block - 5, 9 * block - 5}) {
        SequenceCounter counter({start, block});
        const auto last = counter.take(64);
        CHECK(last.first == start);
        CHECK(last.count == 5);
        CHECK(last.shortage == Shortage::sequence_end);
        CHECK(counter.extend({start + block, block}));
        CHECK(counter.take(1).count == 0);
        CHECK(counter.take(1).shortage == Shortage::sequence_end);
        CHECK(counter.next() % block == 0);
    }
}

TEST_CASE("a lease that ends with the sequence numbers counts as their end") {
    SequenceCounter counter({block - 2, 2});
    CHECK(counter.take(2).count == 2);
    CHECK(counter.take(1).shortage == Shortage::sequence_end);
}

TEST_CASE("a lease of nothing but sequence number 0 gives nothing") {
    SequenceCounter counter({block, 1});
    CHECK(counter.take(1).count == 0);
    CHECK(counter.take(1).shortage == Shortage::no_lease);
    CHECK(counter.extend({block + 1, 1}));
    CHECK(counter.take(1).first == block + 1);
}

TEST_CASE("leases that are empty or reach 2^64 are not valid") {
    CHECK_FALSE(SequenceCounter::valid({5, 0}));
    CHECK_FALSE(SequenceCounter::valid({UINT64_MAX, 1}));
    CHECK_FALSE(SequenceCounter::valid({UINT64_MAX - 5, 6}));
    CHECK(SequenceCounter::valid({UINT64_MAX - 6, 6}));
    // The last sequence number of the last block is therefore out of reach; its end must not wrap to 0.
    SequenceCounter counter({UINT64_MAX - 3, 3});
    CHECK(counter.take(9).count == 3);
    CHECK(counter.take(9).shortage == Shortage::no_lease);
}

TEST_CASE("extended numbers go on across 2^32, 0 included in the low half, up to the end of all leases") {
    SequenceCounter counter({block - 2, 10}, true);
    const auto across = counter.take(5);
    CHECK(across.first == block - 2);
    CHECK(across.count == 5);
    CHECK(counter.take(9).shortage == Shortage::no_lease);
    CHECK(SequenceCounter({0, 10}, true).take(1).first == 1);
    CHECK(SequenceCounter({block, 10}, true).take(1).first == block);
    SequenceCounter last({UINT64_MAX - 3, 3}, true);
    CHECK(last.take(9).count == 3);
    CHECK(last.take(1).shortage == Shortage::sequence_end);
    CHECK(last.next() == UINT64_MAX);
}

TEST_CASE(
    "threads that take at the same time, while the lease grows, never get a value twice nor leave one out") {
    constexpr std::uint64_t total = 400'000;
    SequenceCounter counter({0, 1});
    std::vector<std::vector<SequenceCounter::Range>> taken(3);
    std::vector<std::thread> workers;
    for (std::size_t i = 0; i < taken.size(); ++i) {
        workers.emplace_back([&, i] {
            std::uint32_t wanted = 1;
            while (counter.next() < total) {
                const auto range = counter.take(wanted);
                if (range.count > 0) {
                    taken[i].push_back(range);
                }
                wanted = wanted % 32 + 1;
            }
        });
    }
    for (std::uint64_t end = 1; end < total; end += 1000) {
        while (counter.next() + 500 < end) {
            std::this_thread::yield();
        }
        CHECK(counter.extend({end, std::min<std::uint64_t>(1000, total - end)}));
    }
    for (std::thread& worker : workers) {
        worker.join();
    }
    std::vector<SequenceCounter::Range> all;
    for (const auto& some : taken) {
        all.insert(all.end(), some.begin(), some.end());
    }
    std::ranges::sort(all, {}, &SequenceCounter::Range::first);
    std::uint64_t next = 1;
    for (const auto& range : all) {
        REQUIRE(range.first == next);
        next += range.count;
    }
    CHECK(next == total);
}

}  // namespace
