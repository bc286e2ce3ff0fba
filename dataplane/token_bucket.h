// How many bytes a content destination's rate lets pass, counted by all workers together.
//
// A credit grows with time at the rate, and what was taken grows behind it: whoever moves `taken_` on by some
// bytes, not beyond the credit, may pass as many. Credit that nobody took is lost beyond `depth`. A worker
// takes a batch of bytes at a time and spends it from an allowance of its own (rate_limits.h).
//
// Thread safety: any number of threads take(), without a lock; a thread tries again only when another one has
// succeeded. Invariant: in any stretch of time what was taken is at most rate * time + depth.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace flowtap::dataplane {

class alignas(64) TokenBucket {
  public:
    struct Terms {
        std::uint64_t rate = 0;   ///< bit/s
        std::uint64_t depth = 0;  ///< bytes, not 0
        std::uint64_t clock = 0;  ///< of `now`: ticks a second
    };

    /// Full at `now`.
    TokenBucket(const Terms& terms, std::uint64_t now) : terms_(terms), start_(now) {}

    /// Bytes from `least` to `most`, as many as there are; 0: there are fewer than `least`. `now` is read
    /// by who calls, no earlier than what it takes is spent after.
    std::uint32_t take(std::uint32_t least, std::uint32_t most, std::uint64_t now) {
        const std::uint64_t credit = credit_at(now);
        std::uint64_t taken = taken_.load(std::memory_order_relaxed);
        std::uint64_t from = 0;
        std::uint64_t bytes = 0;
        do {
            from = std::max(taken, credit - std::min(credit, depth()));
            bytes = credit - std::min(from, credit);
            if (bytes < least) {
                return 0;
            }
            bytes = std::min<std::uint64_t>(bytes, most);
        } while (!taken_.compare_exchange_weak(taken, from + bytes, std::memory_order_relaxed));
        return static_cast<std::uint32_t>(bytes);
    }

  private:
    __extension__ using Wide = unsigned __int128;

    /// Rounding down to bytes may put one byte into a stretch of time that belongs before it.
    std::uint64_t depth() const { return terms_.depth - 1; }
    /// Bytes since the start, the full bucket included.
    std::uint64_t credit_at(std::uint64_t now) const {
        const std::uint64_t ticks = now > start_ ? now - start_ : 0;
        const Wide bytes = static_cast<Wide>(ticks) * terms_.rate / (Wide{8} * terms_.clock);
        return depth() + static_cast<std::uint64_t>(bytes);
    }

    const Terms terms_;
    const std::uint64_t start_;
    alignas(64) std::atomic<std::uint64_t> taken_ = 0;
};

}  // namespace flowtap::dataplane
