// One worker's fragments: later ones are completed with what their first one says before they are classified,
// so that ports, drop policies and limits decide about them as about a whole packet. Those that come before
// their first one are sent on and matched on what is known of them; a copy is kept, and matched again when
// the first one comes.
//
// Only fragments that some tap cannot decide about without their first one are looked up or kept: all others
// cost no place here. Copies are kept in a pool of their own, so that neither the receive nor the copy pool
// can run short of buffers for them. Whatever did not fit, or was not resolved in time, is counted:
// fragments-early = fragments-resolved + fragments-unresolved + fragments-held-full + those that wait now.
//
// Thread safety: the worker's own; no lock, allocation, exception, log or system call after the start.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/match/fragment_table.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/match/waiting_fragments.h"
#include "lib/status.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>

namespace flowtap::dataplane {

/// Frames that wait at a time. A first fragment is seldom more than some milliseconds late: 1,024 are 100,000
/// early fragments a second at 10 ms.
inline constexpr std::uint32_t most_waiting_fragments = 1024;
/// Bytes of a buffer of their pool; longer frames take several.
inline constexpr std::uint32_t fragment_data_room = 2048;

/// Fragments that were kept, their first one known by now, to be matched with it.
struct ResolvedFragments {
    std::size_t count = 0;
    std::uint64_t counted = 0;   ///< bit i: frame i was counted as one that matched some tap
    match::HeaderBurst headers;  ///< completed
    std::array<match::EarlyFragment, burst_size> early;
    std::array<rte_mbuf*, burst_size> frames;  ///< the taker's, to be freed
};

class Fragments {
  public:
    struct Parts {
        const match::TapTable& taps;
        rte_mempool* pool = nullptr;  ///< of most_waiting_fragments buffers, of fragment_data_room
        lib::WorkerCounters& counters;
        std::uint64_t clock_rate = 1;  ///< TSC cycles a second
        std::uint64_t seed = 0;        ///< secret
        std::pmr::memory_resource* memory = std::pmr::new_delete_resource();
    };

    /// Throws std::bad_alloc. About 9 MiB.
    explicit Fragments(const Parts& parts);

    /// Before the burst is classified, if it has fragments: remembers first ones and completes later ones.
    /// `tsc` may be some microseconds old, and never goes back. Returns the frames that should be kept.
    std::uint64_t complete(match::HeaderBurst& burst, std::uint64_t tsc);
    /// One of those that complete() named; the frame stays the caller's. `port`: the burst's; `counted`: it
    /// was counted as a frame that matched some tap.
    void keep(const rte_mbuf& frame, std::uint16_t port, const match::EarlyFragment& early, bool counted,
              std::uint64_t tsc);

    /// Anything is remembered or kept: tend() and take_resolved() have something to do.
    bool busy() const { return known_.size() != 0 || !waiting_.empty(); }
    /// Gives up what has waited too long, a few at a time; to be called once a poll while busy().
    void tend(std::uint64_t tsc);
    /// Some that came in at one port; `to` is overwritten. False: there is none.
    bool take_resolved(ResolvedFragments& to);
    /// At the end: gives up all that wait. The resolved ones have been taken.
    void give_up();

  private:
    using Counter = lib::WorkerCounter;

    void count(Counter counter, std::uint64_t amount = 1) { lib::add(parts_.counters[counter], amount); }
    void learn(const match::Headers& headers, std::uint16_t port, match::Ticks now);
    bool complete_one(match::Headers& headers, std::uint16_t port, match::Ticks now);
    void drop_oldest(Counter cause);
    rte_mbuf* copy_of(const rte_mbuf& frame);

    Parts parts_;
    match::Ticks patience_;
    std::uint64_t polls_ = 0;
    match::FragmentTable known_;
    match::WaitingFragments waiting_;
};

}  // namespace flowtap::dataplane
