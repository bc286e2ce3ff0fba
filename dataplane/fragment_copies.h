// Where copies of fragments wait for their first one: in a pool of their own, so that neither the receive
// pool nor the copy pool can run short of buffers for them.
//
// Thread safety: the worker's own.
#pragma once

#include "dataplane/match/fragment_tracker.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <cstdint>
#include <limits>

namespace flowtap::dataplane {

/// Bytes of a buffer of the pool, without RTE_PKTMBUF_HEADROOM. Longer frames take several.
inline constexpr std::uint32_t fragment_data_room = 2048;

class FragmentCopies final : public match::FragmentBuffers {
  public:
    /// Of match::most_waiting_fragments buffers; outlives this.
    explicit FragmentCopies(rte_mempool* pool) : pool_(pool) {}

    rte_mbuf* copy(const rte_mbuf& frame) override {
        return rte_pktmbuf_copy(&frame, pool_, 0, std::numeric_limits<std::uint32_t>::max());
    }
    void free(rte_mbuf* copy) override { rte_pktmbuf_free(copy); }

  private:
    rte_mempool* pool_;
};

}  // namespace flowtap::dataplane
