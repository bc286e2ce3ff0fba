// The live counters of the status region: the dataplane writes, control reads at any moment.
//
// Thread safety: every counter has one writer (a worker, or the manager where the comment says so) that
// stores with relaxed order; readers load with relaxed order and sum over workers. A sum is never torn, but
// two counters read one after the other may be of two moments. No field says whose traffic was counted: slots
// only.
#pragma once

#include "lib/counters.h"
#include "lib/records.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace flowtap::lib {

using Counter = std::atomic<std::uint64_t>;
static_assert(Counter::is_always_lock_free && sizeof(Counter) == 8);

/// Adds without a locked instruction: for the counter's one writer.
inline void add(Counter& counter, std::uint64_t amount) {
    counter.store(counter.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
}

template <typename Index>
struct alignas(64) CounterSet {
    std::array<Counter, static_cast<std::size_t>(Index::count_)> values;

    Counter& operator[](Index index) { return values[static_cast<std::size_t>(index)]; }
    const Counter& operator[](Index index) const { return values[static_cast<std::size_t>(index)]; }
};

using PortCounters = CounterSet<PortCounter>;
using WorkerCounters = CounterSet<WorkerCounter>;
using SaCounters = CounterSet<SaCounter>;

/// Per tap and worker; a cache line. Zeroed by the manager before the slot is used again.
struct alignas(64) TapCounters {
    std::array<Counter, static_cast<std::size_t>(TapCounter::count_)> values;

    Counter& operator[](TapCounter index) { return values[static_cast<std::size_t>(index)]; }
    const Counter& operator[](TapCounter index) const { return values[static_cast<std::size_t>(index)]; }
};

/// Copies lost on a worker, by cause. A tap's are in a table of their own, since a loss is rare, and zeroed
/// with its other counters.
struct CopyLosses {
    std::array<Counter, loss_causes.size()> values;

    /// `cause`: one of loss_causes.
    Counter& operator[](WorkerCounter cause) { return values[loss_places[static_cast<std::size_t>(cause)]]; }
    const Counter& operator[](WorkerCounter cause) const {
        return values[loss_places[static_cast<std::size_t>(cause)]];
    }
};

struct DestinationStatus {
    CounterSet<DestinationCounter> counters;
    CopyLosses losses;
};

/// What one worker writes; no other thread does.
struct WorkerStatus {
    WorkerCounters counters;
    std::array<PortCounters, max_ports> ports;
    std::array<SaCounters, max_sas> sas;
    std::array<DestinationStatus, max_accounts> destinations;  ///< by TapDestination::account
    alignas(64) Counter busy_cycles;  ///< TSC cycles of polls that had something to do
    Counter idle_cycles;              ///< TSC cycles of the others
    Counter heartbeat;                ///< grows while the worker polls
    Counter lcore;                    ///< the core of the configuration; written once at start
    Counter sampled_frames;           ///< frames of the polls that were timed: one in many, to cost nothing
    Counter sampled_cycles;           ///< TSC cycles of those polls, from after receive to after send
};

enum class DataplaneState : std::uint64_t { starting, waiting_for_taps, forwarding, stopping };

/// Of a port. Held down: by the manager, since the other side of its wire has lost its link.
enum class PortLink : std::uint64_t { down, up, held_down };

/// What the manager writes.
struct ManagerStatus {
    alignas(64) Counter state;  ///< DataplaneState
    Counter heartbeat;          ///< grows at least every 100 ms
    Counter taps;               ///< live taps
    Counter sas;                ///< live security associations
    Counter commits;            ///< applied
    Counter refusals;
    std::array<Counter, max_ports> link_up;  ///< PortLink, by port index
    std::array<Counter, max_ports> link_mbps;
    std::array<Counter, max_ports> driver_missed;   ///< frames lost in the device before a worker saw them
    std::array<Counter, max_ports> driver_no_mbuf;  ///< frames lost because the receive pool was empty
    std::array<Counter, max_ports> driver_failed;   ///< frames that the device took and could not send
    std::array<Counter, max_sas> sa_next;           ///< the SA's next counter value
    std::array<Counter, max_sas> sa_lease_end;
};

/// What the slow path's thread writes; all zero where the configuration has no slow path.
struct SlowPathStatus {
    CounterSet<SlowPathCounter> counters;
    PortCounters port;                    ///< its part of the delivery port's frames
    std::array<SaCounters, max_sas> sas;  ///< its part of what was sealed; zeroed by the manager
    alignas(
        64) std::array<Counter, max_next_hops> next_hops;  ///< 0: does not answer; else its MAC address, and
                                                           ///< bit 48. In the order of next_hop_addresses()
    Counter heartbeat;                                     ///< grows with every turn
};

/// The status block at the head of the status region's counters. TapCounters[worker][slot] and
/// CopyLosses[worker][slot] follow it; where,
/// the reader computes from its own configuration, and never from what the region says.
struct Status {
    ManagerStatus manager;
    std::array<WorkerStatus, max_workers> workers;
    SlowPathStatus slow_path;
};

}  // namespace flowtap::lib
