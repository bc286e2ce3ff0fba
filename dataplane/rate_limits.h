// The rate limits of the configuration's destinations, and one worker's share of them.
//
// What counts is a copy's IP packet as its content destination gets it: IP and UDP headers, shim and
// original; of a copy in pieces the headers of each. Not ESP, and nothing below IP. A copy that is lost after
// it was counted (no buffer, a full transmit queue) has used the rate up all the same.
//
// What a worker has taken from a bucket and not spent yet is at most a batch; as much for each worker is
// kept back from the bucket's depth. So in any stretch of time all workers together let pass no more than
// rate * time + burst-size, whatever they had in hand before. Seven eighths of the burst-size are left as the
// bucket's depth, which is more than an IP packet can have.
//
// Thread safety: RateLimits is constant but for its buckets, which are any thread's; a RateAllowances is its
// worker's own.
#pragma once

#include "dataplane/token_bucket.h"
#include "lib/config.h"
#include "lib/records.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace flowtap::dataplane {

class RateLimits {
  public:
    struct Limit {
        Limit(const TokenBucket::Terms& terms, std::uint64_t now, std::uint32_t bytes)
            : bucket(terms, now), batch(bytes) {}

        TokenBucket bucket;
        const std::uint32_t batch;  ///< bytes
    };
    /// Ticks a second, and now, of the clock that spend() is given. Throws std::bad_alloc; at start.
    struct Time {
        std::uint64_t clock = 0;
        std::uint64_t now = 0;
    };

    RateLimits(std::span<const lib::DestinationConfig> destinations, std::size_t workers, Time time) {
        for (const lib::DestinationConfig& destination : destinations) {
            if (!destination.rate_limit) {
                limits_.push_back(nullptr);
                continue;
            }
            const auto batch = static_cast<std::uint32_t>(
                std::min<std::size_t>(largest_batch, destination.burst_size / (8 * workers)));
            limits_.push_back(
                std::make_unique<Limit>(TokenBucket::Terms{.rate = *destination.rate_limit,
                                                           .depth = destination.burst_size - workers * batch,
                                                           .clock = time.clock},
                                        time.now, batch));
        }
    }

    /// Places, by lib::TapDestination::account.
    std::size_t size() const { return limits_.size(); }
    bool has(std::uint16_t account) const { return account < limits_.size() && limits_[account] != nullptr; }
    /// One that it has.
    Limit& at(std::uint16_t account) const { return *limits_[account]; }

  private:
    static constexpr std::size_t largest_batch = 65'536;

    std::vector<std::unique_ptr<Limit>> limits_;
};

class RateAllowances {
  public:
    /// Throws std::bad_alloc; at start.
    explicit RateAllowances(const RateLimits& limits) : limits_(limits), left_(limits.size()) {}

    /// Whether so many bytes may pass, and if so counts them. now(): the clock, read only when the bucket is
    /// asked.
    template <typename Now>
    bool spend(std::uint16_t account, std::uint32_t bytes, Now now) {
        std::uint32_t& left = left_[account];
        if (left < bytes) {
            RateLimits::Limit& limit = limits_.at(account);
            const std::uint32_t least = bytes - left;
            left += limit.bucket.take(least, std::max(least, limit.batch), now());
            if (left < bytes) {
                return false;
            }
        }
        left -= bytes;
        return true;
    }

  private:
    const RateLimits& limits_;
    std::vector<std::uint32_t> left_;  ///< bytes in hand, at most a batch
};

}  // namespace flowtap::dataplane
