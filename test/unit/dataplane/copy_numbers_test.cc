// The numbers of copies: every copy owed has one, whatever becomes of it. Meant for TSan, too.
#include "dataplane/copy_numbers.h"

#include "dataplane/wall_clock.h"
#include "lib/shims.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

namespace {

using namespace flowtap::dataplane;
using flowtap::lib::FlowtapShim;

/// A burst of copies with room for their shims.
struct Burst {
    Numbering numbering;
    std::array<std::array<std::uint8_t, sizeof(FlowtapShim)>, Numbering::capacity> bytes{};
    std::size_t count = 0;

    void add(CopyNumbers& numbers) {
        numbering.add(numbers, {.shim = bytes[count].data(), .copy = static_cast<std::uint8_t>(count)});
        ++count;
    }
    FlowtapShim shim(std::size_t copy) const {
        return flowtap::lib::read_shim<FlowtapShim>(bytes[copy].data());
    }
    void clear() {
        numbering.clear();
        count = 0;
    }
};

TEST_CASE("copies that are lost are numbered before those that are sent, and counted in these") {
    CopyNumbers numbers(100, 1);
    CopyNumbers other(7, 2);
    const auto burst = std::make_unique<Burst>();
    burst->add(numbers);
    burst->numbering.lose(numbers);
    burst->numbering.lose(other);
    burst->numbering.lose(numbers);
    burst->add(other);
    burst->add(numbers);
    burst->numbering.number();
    CHECK(burst->shim(0).sequence.value() == 102);
    CHECK(burst->shim(0).dropped.value() == 2);
    CHECK(burst->shim(2).sequence.value() == 103);
    CHECK(burst->shim(1).sequence.value() == 8);
    CHECK(burst->shim(1).dropped.value() == 1);
    CHECK(burst->shim(1).criteria_id.value() == 2);
    burst->numbering.lose_numbered(0);  // not sent after all: the next one says so
    burst->clear();
    burst->add(numbers);
    burst->numbering.number();
    CHECK(burst->shim(0).sequence.value() == 104);
    CHECK(burst->shim(0).dropped.value() == 3);
}

TEST_CASE("what is lost in a burst that sends nothing is counted all the same") {
    CopyNumbers numbers(0, 1);
    const auto burst = std::make_unique<Burst>();
    CHECK_FALSE(burst->numbering.any());
    burst->numbering.lose(numbers);
    CHECK(burst->numbering.any());
    burst->numbering.number();
    CHECK_FALSE(burst->numbering.any());
    CHECK(numbers.next == 1);
    CHECK(numbers.dropped == 1);
}

TEST_CASE("a full burst is numbered, whatever taps it is of") {
    std::vector<std::unique_ptr<CopyNumbers>> taps;
    for (std::uint32_t i = 0; i < 5; ++i) {
        taps.push_back(std::make_unique<CopyNumbers>(i * 1000, i));
    }
    const auto burst = std::make_unique<Burst>();
    for (std::size_t i = 0; i < Numbering::capacity; ++i) {
        burst->add(*taps[i * i % taps.size()]);
    }
    burst->numbering.number();
    std::vector<std::uint64_t> expected{0, 1000, 2000, 3000, 4000};
    for (std::size_t i = 0; i < Numbering::capacity; ++i) {
        const std::size_t tap = i * i % taps.size();
        CHECK(burst->shim(i).criteria_id.value() == tap);
        CHECK(burst->shim(i).sequence.value() == expected[tap]++);
    }
}

TEST_CASE("workers never take one number twice, and each loss has a lower number than who tells of it") {
    constexpr std::size_t workers = 3;
    constexpr std::size_t bursts = 4000;
    CopyNumbers numbers(0, 1);
    struct Told {
        std::uint64_t number;
        std::uint64_t dropped;
    };
    std::array<std::vector<Told>, workers> told;
    std::uint64_t owed = 0;
    {
        std::vector<std::jthread> threads;
        for (std::size_t worker = 0; worker < workers; ++worker) {
            threads.emplace_back([&, worker] {
                const auto burst = std::make_unique<Burst>();
                for (std::size_t k = 0; k < bursts; ++k) {
                    const std::size_t sent = (k + worker) % 5;
                    for (std::size_t i = 0; i < sent; ++i) {
                        burst->add(numbers);
                    }
                    if (k % 3 == worker) {
                        burst->numbering.lose(numbers);
                    }
                    burst->numbering.number();
                    for (std::size_t i = 0; i < sent; ++i) {
                        told[worker].push_back(
                            {burst->shim(i).sequence.value(), burst->shim(i).dropped.value()});
                    }
                    burst->clear();
                }
            });
        }
    }
    for (std::size_t worker = 0; worker < workers; ++worker) {
        for (std::size_t k = 0; k < bursts; ++k) {
            owed += (k + worker) % 5 + (k % 3 == worker ? 1 : 0);
        }
    }
    CHECK(numbers.next == owed);
    std::vector<Told> all;
    for (const auto& each : told) {
        all.insert(all.end(), each.begin(), each.end());
    }
    CHECK(all.size() + numbers.dropped == owed);
    std::ranges::sort(all, {}, &Told::number);
    std::uint64_t gaps = 0;
    std::uint64_t wrong = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        wrong += std::uint64_t{i != 0 && all[i].number == all[i - 1].number};
        gaps = all[i].number - i;
        wrong += std::uint64_t{all[i].dropped > gaps};
    }
    CHECK(wrong == 0);
}

TEST_CASE("the clock goes by the counter's rate between adjustments, and follows each of them") {
    WallClock clock(3'000'000'000);
    constexpr std::uint64_t year = 1'000'000'000'000'000'000;  // about 2001
    clock.set(1'000'000, year);
    CHECK(clock.at(1'000'000) == year);
    CHECK(clock.at(1'000'000 + 3'000'000'000) - year <= 1'000'000'001);
    CHECK(clock.at(1'000'000 + 3'000'000'000) - year >= 999'999'999);
    CHECK(clock.at(1'000'000 - 300) == year - 100);
    clock.set(2'000'000, year - 5);  // the system's clock was set back
    CHECK(clock.at(2'000'000) == year - 5);
    // After 30 years without a restart.
    WallClock old(3'000'000'000);
    const std::uint64_t late = 3'000'000'000ULL * 86'400 * 365 * 30;
    old.set(late, year);
    CHECK(old.at(late + 3'000'000) - year - 1'000'000 <= 1);
}

}  // namespace
