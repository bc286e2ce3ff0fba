// One worker's spare buffers for copies: taken from their pool many at a time, so that a copy costs no call
// into the pool.
//
// A buffer that is taken has the reference count 1, one segment and no flags; where its data lies is the
// taker's to say. Up to `kept` buffers wait here that the pool does not count as free; nobody else takes from
// the pool, so none is missed. Thread safety: the worker's own.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace flowtap::dataplane {

class CopyBuffers {
  public:
    /// The pool outlives this, and takes back with its end what is spare.
    explicit CopyBuffers(rte_mempool* pool) : pool_(pool) {}

    /// Null: there is none.
    rte_mbuf* take() {
        if (count_ == 0 && !refill()) [[unlikely]] {
            return nullptr;
        }
        rte_mbuf* const buffer = spare_[--count_];
        buffer->ol_flags = 0;
        buffer->port = RTE_MBUF_PORT_INVALID;
        return buffer;
    }
    /// As many as there are places, or none.
    bool take(std::span<rte_mbuf*> places) {
        for (std::size_t i = 0; i < places.size(); ++i) {
            places[i] = take();
            if (places[i] == nullptr) {
                rte_pktmbuf_free_bulk(places.data(), static_cast<unsigned>(i));
                return false;
            }
        }
        return true;
    }

  private:
    static constexpr unsigned kept = 32;

    bool refill() {
        unsigned count = kept;
        // A pool that runs short is used up to its last buffer.
        while (count != 0 &&
               rte_mempool_get_bulk(pool_, reinterpret_cast<void**>(spare_.data()), count) != 0) {
            count /= 2;
        }
        count_ = count;
        for (std::size_t i = 0; i < count; ++i) {
            rte_prefetch0(spare_[i]);
        }
        return count != 0;
    }

    rte_mempool* pool_;
    std::size_t count_ = 0;
    std::array<rte_mbuf*, kept> spare_{};
};

}  // namespace flowtap::dataplane
