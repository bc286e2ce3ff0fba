// What all workers together have matched of one limited tap, so that no copy goes beyond a limit.
//
// Thread safety: any number of workers admit() at the same time, without a lock; each has a number of its
// own. The manager reads, and contributes for workers that have not met the tap since it is limited.
// Invariants: 1. packets() and bytes() never exceed the limits that their workers admit with, and are what
// was admitted; 2. a packet that would go beyond the byte limit ends its term: nothing is admitted in it any
// more, however small; 3. a worker's matches from before the tap had limits are counted once, by whoever
// comes first.
#pragma once

#include "lib/records.h"

#include <atomic>
#include <cstdint>

namespace flowtap::dataplane {

enum class Admission : std::uint8_t {
    admitted,
    last,     ///< admitted, and nothing is left
    ended,    ///< not admitted, and the first that was not
    refused,  ///< not admitted, as others before
};

/// A cache line of its own: limited taps of one worker do not slow those of another.
class alignas(64) TapUsage {
  public:
    /// Counts of a term: raised with the byte limit, so that what ended an earlier term does not end this
    /// one.
    using Term = std::uint32_t;

    /// A tap that is limited from its first packet on needs no contributions.
    explicit TapUsage(bool contributed) : contributed_(contributed ? ~std::uint64_t{0} : 0) {}

    /// Whether a worker's earlier matches are in.
    bool has_contribution(std::uint16_t worker) const {
        return (contributed_.load(std::memory_order_relaxed) >> worker & 1) != 0;
    }
    /// Adds the worker's matches of the time before, if nobody has. By the worker, before it counts one more;
    /// or by the manager, which has read them when the worker could only have counted more after its
    /// contribution.
    void contribute(std::uint16_t worker, std::uint64_t packets, std::uint64_t bytes) {
        const std::uint64_t bit = std::uint64_t{1} << worker;
        if ((contributed_.fetch_or(bit, std::memory_order_acq_rel) & bit) == 0) {
            packets_.fetch_add(packets, std::memory_order_relaxed);
            bytes_.fetch_add(bytes, std::memory_order_relaxed);
        }
    }

    /// One packet of so many bytes, of a term with these limits.
    Admission admit(const lib::TapService& limits, Term term, std::uint32_t bytes) {
        if (ended_.load(std::memory_order_relaxed) > term) {
            return Admission::refused;
        }
        std::uint64_t packets = packets_.load(std::memory_order_relaxed);
        do {
            if (packets >= limits.packet_limit) {
                return Admission::refused;
            }
        } while (!packets_.compare_exchange_weak(packets, packets + 1, std::memory_order_relaxed));
        std::uint64_t before = bytes_.load(std::memory_order_relaxed);
        do {
            if (before >= limits.byte_limit || bytes > limits.byte_limit - before) {
                packets_.fetch_sub(1, std::memory_order_relaxed);
                return end(term) ? Admission::ended : Admission::refused;
            }
        } while (!bytes_.compare_exchange_weak(before, before + bytes, std::memory_order_relaxed));
        const bool last = packets + 1 >= limits.packet_limit || before + bytes >= limits.byte_limit;
        return last ? Admission::last : Admission::admitted;
    }

    /// Nothing more is admitted.
    bool over(const lib::TapService& limits, Term term) const {
        return ended_.load(std::memory_order_relaxed) > term || packets() >= limits.packet_limit ||
               bytes() >= limits.byte_limit;
    }
    std::uint64_t packets() const { return packets_.load(std::memory_order_relaxed); }
    std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  private:
    /// True for the first.
    bool end(Term term) {
        Term ended = ended_.load(std::memory_order_relaxed);
        do {
            if (ended > term) {
                return false;
            }
        } while (!ended_.compare_exchange_weak(ended, term + 1, std::memory_order_relaxed));
        return true;
    }

    std::atomic<std::uint64_t> packets_ = 0;
    std::atomic<std::uint64_t> bytes_ = 0;
    std::atomic<std::uint64_t> contributed_;  ///< bit: worker
    std::atomic<Term> ended_ = 0;             ///< terms below it have ended by a packet too long
};
static_assert(lib::max_workers <= 64);

}  // namespace flowtap::dataplane
