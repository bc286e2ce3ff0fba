// One worker's fragments: later ones are completed with what their first one says before they are classified,
// so that ports, drop policies and limits decide about them as about a whole packet. Those that come before
// their first one are sent on and matched on what is known of them; a copy is kept, and matched again when
// the first one comes.
//
// Only fragments that some tap cannot decide about without their first one are looked up or kept: all others
// cost no place here. Whatever did not fit, or was not resolved in time, is counted:
// fragments-early = fragments-resolved + fragments-unresolved + fragments-held-full + those that wait now.
//
// Thread safety: the worker's own; no lock, allocation, exception, log or system call after the start.
#pragma once

#include "dataplane/match/fragment_table.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/match/waiting_fragments.h"
#include "lib/status.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>

namespace flowtap::dataplane::match {

/// Frames that wait at a time. A first fragment is seldom more than some milliseconds late: 1,024 are 100,000
/// early fragments a second at 10 ms.
inline constexpr std::uint32_t most_waiting_fragments = 1024;
/// Given back in one go.
inline constexpr std::size_t max_resolved = 32;

/// Where copies of frames are kept; the tracker looks into no frame.
class FragmentBuffers {
  public:
    /// Null: there is no room.
    virtual rte_mbuf* copy(const rte_mbuf& frame) = 0;
    virtual void free(rte_mbuf* copy) = 0;

  protected:
    ~FragmentBuffers() = default;
};

/// Fragments that were kept, their first one known by now, to be matched with it.
struct ResolvedFragments {
    std::size_t count = 0;
    std::uint64_t counted = 0;  ///< bit i: frame i was counted as one that matched some tap
    HeaderBurst headers;        ///< completed
    std::array<EarlyFragment, max_resolved> early;
    std::array<rte_mbuf*, max_resolved> frames;  ///< the taker's, to be freed
};

class FragmentTracker {
  public:
    struct Options {
        std::uint64_t clock_rate = 1;  ///< TSC cycles a second
        std::uint64_t seed = 0;        ///< secret
        std::size_t buckets = 16'384;  ///< of datagrams that are remembered: FragmentTable's
        std::uint32_t waiting = most_waiting_fragments;  ///< at most so many
        std::pmr::memory_resource* memory = std::pmr::new_delete_resource();
    };

    /// Throws std::bad_alloc. About 10 MB by default. All but the options outlive it.
    FragmentTracker(const TapTable& taps, FragmentBuffers& buffers, lib::WorkerCounters& counters,
                    const Options& options);

    /// Before the burst is classified, if it has fragments: remembers first ones and completes later ones.
    /// `tsc` may be some microseconds old, and never goes back. Returns the frames that should be kept.
    std::uint64_t complete(HeaderBurst& burst, std::uint64_t tsc);
    /// One of those that complete() named; the frame stays the caller's. `port`: the burst's; `counted`: it
    /// was counted as a frame that matched some tap.
    void keep(const rte_mbuf& frame, std::uint16_t port, const EarlyFragment& early, bool counted,
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

    void count(Counter counter, std::uint64_t amount = 1) { lib::add(counters_[counter], amount); }
    void learn(const Headers& headers, std::uint16_t port, Ticks now);
    bool complete_one(Headers& headers, std::uint16_t port, Ticks now);
    void drop_oldest(Counter cause);
    rte_mbuf* copy_of(const rte_mbuf& frame);

    const TapTable& taps_;
    FragmentBuffers& buffers_;
    lib::WorkerCounters& counters_;
    Ticks patience_;
    std::uint64_t polls_ = 0;
    FragmentTable known_;
    WaitingFragments waiting_;
};

}  // namespace flowtap::dataplane::match
