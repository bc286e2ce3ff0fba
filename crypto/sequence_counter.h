// The 64-bit counter of an outbound SA, from which IVs and sequence numbers come.
//
// Thread safety: take() from any number of threads; extend() from one thread (the manager); the rest from
// any. Invariants: 1. no value is handed out twice; 2. none below the first lease or at or past the lease's
// end, which only grows; 3. without extended sequence numbers none whose low 32 bits, the sequence number,
// would start over: after 2^32-1 the SA is finished (RFC 4303 section 3.3.3), and none whose low 32 bits are
// 0, since the first sequence number of an SA is 1 (section 2.2); 4. with them none that is 0, and none past
// the end of all leases, 2^64-2.
#pragma once

#include "lib/records.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace flowtap::crypto {

/// Why take() gave fewer values than it was asked for.
enum class Shortage : std::uint8_t {
    none,
    no_lease,      ///< the lease is used up; the next one may come
    sequence_end,  ///< the SA can seal nothing any more: it needs a new key
};

class SequenceCounter {
  public:
    struct Range {
        std::uint64_t first = 0;
        std::uint32_t count = 0;
        Shortage shortage = Shortage::none;
    };

    /// Whether a counter may start with the lease: not empty, and its end is below 2^64.
    static bool valid(const lib::Lease& lease) {
        return lease.count != 0 && lease.first <= UINT64_MAX - lease.count;
    }

    /// `lease` is valid(). `extended`: sequence numbers are 64 bits wide (RFC 4303 section 2.2.1).
    explicit SequenceCounter(const lib::Lease& lease, bool extended = false)
        : next_(extended ? std::max<std::uint64_t>(lease.first, 1) : first_of_block(lease.first)),
          lease_end_(lease.first + lease.count),
          last_(extended ? UINT64_MAX - 1 : next_.load(std::memory_order_relaxed) | UINT32_MAX) {}

    /// Up to `wanted` consecutive values for the calling thread alone, by one atomic exchange (retried only
    /// when another thread took values in between).
    Range take(std::uint32_t wanted) {
        std::uint64_t next = next_.load(std::memory_order_relaxed);
        for (;;) {
            const std::uint64_t lease_end = lease_end_.load(std::memory_order_relaxed);
            const bool lease_is_limit = lease_end <= last_;
            const std::uint64_t end = lease_is_limit ? lease_end : last_ + 1;
            const std::uint64_t left = next < end ? end - next : 0;
            const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, left));
            const Shortage shortage = count == wanted  ? Shortage::none
                                      : lease_is_limit ? Shortage::no_lease
                                                       : Shortage::sequence_end;
            if (count == 0 || next_.compare_exchange_weak(next, next + count, std::memory_order_relaxed)) {
                return {next, count, shortage};
            }
        }
    }

    /// Grows the lease. False, and nothing changed, unless `lease` is valid() and starts where the present
    /// one ends.
    bool extend(const lib::Lease& lease) {
        if (!valid(lease) || lease.first != lease_end_.load(std::memory_order_relaxed)) {
            return false;
        }
        lease_end_.store(lease.first + lease.count, std::memory_order_relaxed);
        return true;
    }

    /// The value that the next take() starts with.
    std::uint64_t next() const { return next_.load(std::memory_order_relaxed); }
    std::uint64_t lease_end() const { return lease_end_.load(std::memory_order_relaxed); }

  private:
    static std::uint64_t first_of_block(std::uint64_t value) {
        return (value & UINT32_MAX) == 0 ? value + 1 : value;
    }

    // Written by every worker at every burst; the line is theirs alone.
    alignas(64) std::atomic<std::uint64_t> next_;
    alignas(64) std::atomic<std::uint64_t> lease_end_;  ///< written by the manager
    std::uint64_t last_;  ///< the value with the last sequence number; a valid lease ends at 2^64-1 at most,
                          ///< so last_ + 1 cannot overflow where it is used
};

}  // namespace flowtap::crypto
