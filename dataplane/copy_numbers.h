// The sequence numbers of copies, which the `flowtap` shim carries (lib/shims.h).
//
// A worker takes its numbers a burst at a time, when the burst's copies are about to be sealed, and writes
// the shims then. Copies that are lost before that have numbers too, lower ones than those that are sent in
// their burst.
//
// Invariants: 1. each copy owed to the tap and destination has one number, and no number is taken twice; 2.
// `dropped` in a shim counts only copies with lower numbers. A tap without such a shim pays nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace flowtap::dataplane {

/// Of one tap and destination, shared by all workers: any of them counts, without a lock. A cache line of its
/// own.
struct alignas(64) CopyNumbers {
    CopyNumbers(std::uint64_t first, std::uint32_t id) : next(first), criteria_id(id) {}

    /// Counts copies that have been lost without a number.
    void lose(std::uint64_t copies) {
        next.fetch_add(copies, std::memory_order_relaxed);
        dropped.fetch_add(copies, std::memory_order_release);
    }

    std::atomic<std::uint64_t> next;         ///< of the next copy owed
    std::atomic<std::uint64_t> dropped = 0;  ///< lost, of those with lower numbers
    const std::uint32_t criteria_id;
};

/// One worker's copies that wait for their numbers, and what it has lost. Thread safety: the worker's own.
class Numbering {
  public:
    /// Copies of a burst at most.
    static constexpr std::size_t capacity = 64;

    struct Place {
        std::uint8_t* shim = nullptr;      ///< lib::FlowtapShim's bytes, not written yet
        std::uint8_t* checksum = nullptr;  ///< UDP's, to which the shim is to be added; null: there is none
        std::uint64_t arrival = 0;         ///< ns since 1970
        std::uint8_t flags = 0;            ///< of lib::shim_flag
        std::uint8_t copy = 0;             ///< its place in the burst
    };

    bool any() const { return count_ != 0 || lost_ != 0; }
    /// A copy that is to be sent.
    void add(CopyNumbers& numbers, const Place& place) {
        numbers_[count_] = &numbers;
        places_[count_++] = place;
    }
    /// A copy that is not.
    void lose(CopyNumbers& numbers) {
        if (loser_ != &numbers) {
            settle_lost();
            loser_ = &numbers;
        }
        ++lost_;
    }
    /// Numbers all of them.
    void number();
    /// Of a copy that was numbered: it is lost all the same.
    void lose_numbered(std::size_t copy);
    /// The burst is over.
    void clear() { count_ = 0; }

  private:
    void settle_lost();

    std::size_t count_ = 0;
    std::uint64_t lost_ = 0;
    CopyNumbers* loser_ = nullptr;
    std::array<CopyNumbers*, capacity> numbers_;
    std::array<Place, capacity> places_;
};

}  // namespace flowtap::dataplane
