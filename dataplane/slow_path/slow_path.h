// The thread between the delivery port and the kernel's interface on it: it hands over what packet_rules.h
// allows, seals and opens what belongs into a tunnel, and keeps the next hops of the copies.
//
// It shares nothing with the wires or the copies but the counter of a tunnel's SA and the delivery port
// itself: buffers, queues and counters are its own, it runs on the manager's core at a lower priority, and a
// turn is bounded. So a storm here costs the slow path, and nothing else.
//
// Thread safety: start() and the destructor are the manager's; everything else is the thread's. It belongs to
// the Quiescence only during a turn, so that it may sleep.
#pragma once

#include "crypto/opener.h"
#include "crypto/sealer.h"
#include "dataplane/burst.h"
#include "dataplane/match/quiescence.h"
#include "dataplane/next_hops.h"
#include "dataplane/port.h"
#include "dataplane/sa_table.h"
#include "dataplane/slow_path/frame_budget.h"
#include "dataplane/slow_path/inbound_table.h"
#include "dataplane/slow_path/neighbour_watch.h"
#include "dataplane/slow_path/next_hop_keeper.h"
#include "dataplane/slow_path/packet_rules.h"
#include "dataplane/slow_path/tap_device.h"
#include "lib/config.h"
#include "lib/status.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <array>
#include <cstdint>
#include <thread>

namespace flowtap::dataplane::slow_path {

class SlowPath {
  public:
    struct Parts {
        const lib::Config& config;
        const Port& port;
        std::uint16_t rx_queues = 1;  ///< all of them are this thread's
        std::uint16_t tx_queue = 0;
        rte_mempool* pool = nullptr;  ///< of data_room()
        const SaTable& sas;
        const InboundTable& inbound;
        NextHops& next_hops;
        match::Quiescence& quiescence;
        std::uint32_t reader = 0;  ///< its id there
        lib::SlowPathStatus& status;
    };

    SlowPath(const Parts& parts, const lib::MacAddress& mac, TapDevice tap, NeighbourWatch neighbours,
             crypto::Sealer sealer, crypto::Opener opener);
    SlowPath(const SlowPath&) = delete;
    SlowPath& operator=(const SlowPath&) = delete;
    /// Ends the thread.
    ~SlowPath();

    /// Once, when this process has given up its capabilities: the thread has none then.
    void start();

  private:
    using Counter = lib::SlowPathCounter;

    /// More than SSH, IKE and ND ever need; far less than what a delivery port carries.
    static constexpr std::uint64_t frames_per_second = 20'000;
    static constexpr std::uint64_t frames_at_once = 2'000;

    void run(const std::stop_token& stop);
    void wait(bool idle);
    std::uint32_t turn();
    std::uint32_t serve_port();
    std::uint32_t serve_kernel();
    void arrive(rte_mbuf& mbuf);
    void open(std::span<std::uint8_t> frame, const Arrival& arrival);
    void hand_over(std::span<const std::uint8_t> frame, Counter counter);
    bool depart(rte_mbuf& mbuf);
    bool seal(rte_mbuf& mbuf, const Departure& departure);
    bool address(rte_mbuf& mbuf, NextHop hop) const;
    void send();
    void count(Counter counter, std::uint64_t amount = 1) {
        lib::add(parts_.status.counters[counter], amount);
    }

    Parts parts_;
    lib::MacAddress mac_;
    TapDevice tap_;
    NeighbourWatch neighbours_;
    NextHopKeeper next_hops_;
    NeighbourWatch::Listener listener_;
    PacketRules rules_;
    crypto::Sealer sealer_;
    crypto::Opener opener_;
    FrameBudget from_port_{frames_per_second, frames_at_once};
    FrameBudget from_kernel_{frames_per_second, frames_at_once};
    rte_mbuf* spare_ = nullptr;  ///< for the next frame of the kernel
    std::array<rte_mbuf*, burst_size> ready_{};
    std::array<Counter, burst_size> ready_as_{};
    std::size_t ready_count_ = 0;
    std::jthread thread_;
};

/// Bytes, without RTE_PKTMBUF_HEADROOM, that a buffer of the slow path needs for packets of `mtu` bytes.
std::uint32_t data_room(std::uint32_t mtu);

}  // namespace flowtap::dataplane::slow_path
