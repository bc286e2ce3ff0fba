// Word left on the board is found, once, without a look at every slot.
#include "dataplane/over_board.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

namespace {

using flowtap::dataplane::OverBoard;

std::vector<std::size_t> take(OverBoard& board) {
    std::vector<std::size_t> taken;
    board.take_all([&](std::size_t slot) { taken.push_back(slot); });
    return taken;
}

TEST_CASE("what is posted is taken once", "[limits]") {
    for (const std::size_t slots : {1U, 64U, 65U, 4096U, 4097U, 1'048'576U}) {
        OverBoard board(slots);
        CHECK(take(board).empty());
        board.post(0);
        board.post(slots - 1);
        board.post(slots / 2);
        board.post(slots / 2);
        std::vector<std::size_t> wanted{0, slots / 2, slots - 1};
        wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
        CHECK(take(board) == wanted);
        CHECK(take(board).empty());
    }
}

TEST_CASE("nothing posted while the manager takes is lost, and what was written before is seen", "[limits]") {
    constexpr std::size_t slots = 10'000;
    constexpr std::uint64_t rounds = 20;
    OverBoard board(slots);
    std::vector<std::atomic<std::uint64_t>> written(slots);
    std::vector<std::uint64_t> seen(slots, 0);
    std::atomic<int> done = 0;
    std::vector<std::jthread> threads;
    for (std::size_t half = 0; half < 2; ++half) {
        threads.emplace_back([&, half] {
            for (std::uint64_t round = 1; round <= rounds; ++round) {
                for (std::size_t slot = half; slot < slots; slot += 2) {
                    written[slot].store(round, std::memory_order_relaxed);
                    board.post(slot);
                }
            }
            done.fetch_add(1);
        });
    }
    const auto look = [&] {
        board.take_all([&](std::size_t slot) { seen[slot] = written[slot].load(std::memory_order_relaxed); });
    };
    while (done.load() < 2) {
        look();
    }
    look();
    CHECK(std::all_of(seen.begin(), seen.end(), [](std::uint64_t round) { return round == rounds; }));
}

}  // namespace
