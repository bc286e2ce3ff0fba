#include "dataplane/mempool.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_lcore.h>

#include <algorithm>

namespace flowtap::dataplane {
namespace {

constexpr std::uint32_t largest_cache = 256;  // measured: larger ones leave the L2 cache

}  // namespace

std::uint64_t buffer_footprint(std::uint32_t data_room) {
    return rte_mempool_calc_obj_size(
        static_cast<std::uint32_t>(sizeof(rte_mbuf)) + RTE_PKTMBUF_HEADROOM + data_room, 0, nullptr);
}

Result<Mempool> create_mempool(const std::string& name, std::uint32_t count, std::uint32_t data_room,
                               unsigned lcore) {
    // A cache may hold 1.5 times its size: no more than a small part of the pool may hide in one.
    const std::uint32_t cache = std::min(largest_cache, count / 8);
    Mempool pool{rte_pktmbuf_pool_create(name.c_str(), count, cache, 0,
                                         static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + data_room),
                                         static_cast<int>(rte_lcore_to_socket_id(lcore)))};
    if (!pool) {
        return std::unexpected(
            Failure{ExitCode::failure, fmt::format("no memory for {} buffers of {} bytes ({}): {}; raise "
                                                   "[dataplane] memory-mib, or lower buffers "
                                                   "and copy-buffers",
                                                   count, data_room, name, rte_strerror(rte_errno))});
    }
    return pool;
}

}  // namespace flowtap::dataplane
