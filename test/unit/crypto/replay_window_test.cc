#include "crypto/replay_window.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <random>
#include <unordered_set>

namespace {

using flowtap::crypto::ReplayWindow;
using Answer = ReplayWindow::Answer;

/// RFC 4303 section 3.4.3 in the plainest way: remembers everything.
class Model {
  public:
    explicit Model(std::size_t size) : size_(size) {}

    Answer check(std::uint64_t sequence) const {
        if (sequence <= highest_ && highest_ - sequence >= size_) {
            return Answer::too_old;
        }
        return seen_.contains(sequence) ? Answer::replayed : Answer::fresh;
    }
    void mark(std::uint64_t sequence) {
        seen_.insert(sequence);
        highest_ = std::max(highest_, sequence);
    }

  private:
    std::size_t size_;
    std::uint64_t highest_ = 0;
    std::unordered_set<std::uint64_t> seen_;
};

TEST_CASE("the window answers as a receiver that remembers everything would") {
    std::mt19937_64 random(7);
    for (const std::size_t size : {64UL, 65UL, 100UL, 127UL, 128UL, 1000UL, 4095UL, 4096UL}) {
        for (const std::uint64_t start : {std::uint64_t{1}, (std::uint64_t{1} << 32) - 5000}) {
            ReplayWindow window(size);
            Model model(size);
            std::uint64_t top = start;
            for (int i = 0; i < 20'000; ++i) {
                std::uint64_t sequence = 0;
                switch (random() % 8) {
                    case 0:  // around the left edge
                        sequence = top - std::min(top, size - 2 + random() % 4);
                        break;
                    case 1:  // a jump, sometimes over more than the whole ring
                        sequence = top + random() % (random() % 4 == 0 ? 20'000 : 200);
                        break;
                    case 2:
                    case 3:  // anywhere in the window
                        sequence = top - std::min(top, random() % size);
                        break;
                    default:
                        sequence = top + 1;
                }
                const Answer answer = window.check(sequence);
                REQUIRE(answer == model.check(sequence));
                if (answer == Answer::fresh && random() % 10 != 0) {  // not all pass the ICV check
                    window.mark(sequence);
                    model.mark(sequence);
                    top = std::max(top, sequence);
                }
            }
        }
    }
}

TEST_CASE("a check alone moves nothing") {
    ReplayWindow window(64);
    CHECK(window.check(1'000'000) == Answer::fresh);
    CHECK(window.check(1) == Answer::fresh);
    CHECK(window.highest() == 0);
}

TEST_CASE("windows from 64 to 4096 are valid") {
    CHECK_FALSE(ReplayWindow::valid(63));
    CHECK(ReplayWindow::valid(64));
    CHECK(ReplayWindow::valid(4096));
    CHECK_FALSE(ReplayWindow::valid(4097));
}

}  // namespace
