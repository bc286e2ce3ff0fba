// Where workers leave word that a limit has stopped a tap, and the manager finds it without a look at every
// tap.
//
// Thread safety: any number of workers post; one manager takes. Invariant: a slot posted is taken once after,
// and what its worker wrote before is seen then.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace flowtap::dataplane {

class OverBoard {
  public:
    /// Throws std::bad_alloc; at start.
    explicit OverBoard(std::size_t slots)
        : bits_((slots + word - 1) / word), summary_((bits_.size() + word - 1) / word) {}

    void post(std::size_t slot) {
        const std::size_t place = slot / word;
        bits_[place].fetch_or(std::uint64_t{1} << slot % word, std::memory_order_release);
        summary_[place / word].fetch_or(std::uint64_t{1} << place % word, std::memory_order_release);
    }

    /// take(slot) for each; looks at one bit in 64 squared slots when there is none.
    template <typename Take>
    void take_all(Take take) {
        for (std::size_t i = 0; i < summary_.size(); ++i) {
            if (summary_[i].load(std::memory_order_relaxed) == 0) {
                continue;
            }
            for (std::uint64_t places = summary_[i].exchange(0, std::memory_order_acquire); places != 0;
                 places &= places - 1) {
                const std::size_t place = i * word + static_cast<std::size_t>(std::countr_zero(places));
                for (std::uint64_t slots = bits_[place].exchange(0, std::memory_order_acquire); slots != 0;
                     slots &= slots - 1) {
                    take(place * word + static_cast<std::size_t>(std::countr_zero(slots)));
                }
            }
        }
    }

  private:
    static constexpr std::size_t word = 64;
    std::vector<std::atomic<std::uint64_t>> bits_;
    std::vector<std::atomic<std::uint64_t>> summary_;  ///< bit: a word of bits_ may not be 0
};

}  // namespace flowtap::dataplane
