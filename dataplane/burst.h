// The mechanics of bursts that every stage shares: how many frames at a time, and how they are handed to a
// port.
#pragma once

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_pause.h>

#include <cstdint>
#include <span>

namespace flowtap::dataplane {

/// Frames received at a time: enough to spread a poll's cost, few enough to stay in the first-level cache
/// (measured: docs/benchmarks.md).
inline constexpr std::uint16_t burst_size = 32;

/// Offers the frames to the transmit queue at most 1 + `retries` times; returns how many it took. The rest is
/// still the caller's. The bound keeps a stuck port from stopping the worker.
inline std::uint16_t send_burst(std::uint16_t port, std::uint16_t queue, std::span<rte_mbuf*> frames,
                                unsigned retries) {
    const auto count = static_cast<std::uint16_t>(frames.size());
    std::uint16_t sent = rte_eth_tx_burst(port, queue, frames.data(), count);
    while (sent < count && retries-- > 0) [[unlikely]] {
        rte_pause();
        sent = static_cast<std::uint16_t>(sent + rte_eth_tx_burst(port, queue, frames.data() + sent,
                                                                  static_cast<std::uint16_t>(count - sent)));
    }
    return sent;
}

}  // namespace flowtap::dataplane
