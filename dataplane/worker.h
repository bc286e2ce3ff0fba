// One poll-mode worker: takes bursts from its lanes, looks up their taps, sends every frame on, then delivers
// copies.
//
// Through traffic comes first. A frame leaves before any copy of it is made; a matched frame's buffer is only
// held (by its reference count) until its copies are sealed. A frame that a tap's action stops (judge.h) does
// not leave; nothing else keeps one back. Copies have a pool, a transmit queue and
// counters of their own, so that their loss is never a frame's. Fragments that came before their first one
// are delivered late, a burst of them a poll.
//
// Thread safety: everything in it is its own thread's; it shares Orders, the tap table, SAs and own flows
// (each says how), and writes its WorkerStatus. No lock, allocation, exception, log or system call in the
// loop.
#pragma once

#include "dataplane/backlog.h"
#include "dataplane/burst.h"
#include "dataplane/delivery.h"
#include "dataplane/fragment_copies.h"
#include "dataplane/held_frames.h"
#include "dataplane/inner_stage.h"
#include "dataplane/judge.h"
#include "dataplane/match/burst_reader.h"
#include "dataplane/match/fragment_tracker.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/quiescence.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/own_flows.h"
#include "dataplane/port.h"
#include "dataplane/stop_switch.h"
#include "lib/status.h"

#include <rte_mbuf.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace flowtap::dataplane {

/// What the manager tells all workers.
enum class Order : std::uint8_t { wait, forward, stop };
using Orders = std::atomic<Order>;

/// One direction of a wire on the worker's own queues.
struct WorkerLane {
    const Port* rx = nullptr;
    const Port* tx = nullptr;
    std::uint16_t rx_queue = 0;
    std::uint16_t tx_queue = 0;
    Backlog backlog;  ///< of the receive queue
};

class Worker {
  public:
    struct Parts {
        const Orders& orders;
        std::vector<WorkerLane> lanes;
        const match::TapTable& taps;
        const OwnFlows& own_flows;
        const StopSwitch& stops;
        match::Quiescence& quiescence;
        std::uint32_t reader = 0;  ///< its id there
        lib::WorkerStatus& status;
        match::InnerTunnels inner;
    };

    /// `fragment_pool` as of FragmentCopies.
    Worker(Parts parts, Delivery delivery, rte_mempool* fragment_pool,
           const match::FragmentTracker::Options& fragments);

    /// Until Order::stop. Polls nothing before Order::forward.
    void run();

  private:
    using Frames = std::span<rte_mbuf*>;
    using Mask = std::uint64_t;  ///< of frames of a burst

    std::uint16_t serve(const WorkerLane& lane);
    void count_uneven();
    Mask drop_own_output(const match::HeaderBurst& burst, Mask told);
    Judgement judge_burst(const WorkerLane& lane);
    void hold(Frames frames);
    void forward_others(const WorkerLane& lane, Frames frames, Mask stopped);
    void forward(const WorkerLane& lane, Frames frames, std::uint64_t bytes);
    Mask deliver(const match::HeaderBurst& burst, Mask counted, const Backlog& backlog);
    void keep_early(Frames frames, Mask early, Mask own, Mask counted);
    bool tend_fragments();
    bool deliver_resolved();

    Parts parts_;
    match::BurstReader reader_;
    Delivery delivery_;
    FragmentCopies fragment_copies_;
    std::unique_ptr<InnerStage> inner_;  ///< null: no tunnel is looked into
    match::FragmentTracker fragments_;
    std::uint64_t polls_ = 0;
    std::uint64_t now_ = 0;  ///< TSC at the end of the last poll
    HeldFrames held_;        ///< matched, and sent on
    match::HeaderBurst headers_{};
    match::ResolvedFragments resolved_{};
    match::Matches matches_{};
};

}  // namespace flowtap::dataplane
