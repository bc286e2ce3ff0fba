// A pool of packet buffers, freed with its owner.
#pragma once

#include "dataplane/failure.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <cstdint>
#include <memory>
#include <string>

namespace flowtap::dataplane {

struct FreeMempool {
    void operator()(rte_mempool* pool) const noexcept { rte_mempool_free(pool); }
};
using Mempool = std::unique_ptr<rte_mempool, FreeMempool>;

/// Bytes that one buffer of the data room takes from memory, all headers included.
std::uint64_t buffer_footprint(std::uint32_t data_room);

/// `count` buffers of `data_room` bytes (without RTE_PKTMBUF_HEADROOM, which is added), on the NUMA node of
/// `lcore`.
Result<Mempool> create_mempool(const std::string& name, std::uint32_t count, std::uint32_t data_room,
                               unsigned lcore);

}  // namespace flowtap::dataplane
