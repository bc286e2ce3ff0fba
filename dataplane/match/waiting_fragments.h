// Later fragments that came before their first one: kept until it comes, or until their time is over.
//
// A fixed number of places. A fragment waits, and is found by its datagram; then it is ready, and is taken in
// the order in which that came about. Resolving walks the fragments of one datagram and of those few that
// share its list; everything else takes constant time. Nothing is allocated after the start.
//
// Thread safety: one worker's own.
#pragma once

#include "dataplane/match/fragment_table.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/tap_table.h"

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

struct rte_mbuf;

namespace flowtap::dataplane::match {

/// A kept fragment. The buffer is the caller's; here it is only a number.
struct WaitingFragment {
    FragmentKey key{};
    EarlyFragment early{};
    UpperFacts facts{};         ///< of its first one, once it is ready
    rte_mbuf* frame = nullptr;  ///< a copy of it
    Ticks since = 0;
    bool counted = false;  ///< as a frame that matched some tap
};

class WaitingFragments {
  public:
    /// At most 65,534 places. Throws std::bad_alloc.
    WaitingFragments(std::size_t places, std::uint64_t seed, std::pmr::memory_resource* memory);

    bool empty() const { return used_ == 0; }
    bool full() const { return used_ == slots_.size(); }

    /// Only while not full.
    void add(const WaitingFragment& fragment);
    /// Makes the datagram's fragments ready, in the order in which they were added; returns how many.
    std::size_t resolve(const FragmentKey& key, const UpperFacts& facts);

    /// The one that has waited longest and is not ready; null: none. Valid until the next change.
    const WaitingFragment* oldest() const { return at(waiting_.first); }
    /// Takes it out; only while there is one.
    void drop_oldest();
    /// The next ready one; null: none. Valid until the next change.
    const WaitingFragment* ready() const { return at(ready_.first); }
    /// Takes it out; only while there is one.
    void drop_ready();

  private:
    using Index = std::uint16_t;
    static constexpr Index none = 0xffff;

    struct Queue {
        Index first = none;
        Index last = none;
    };
    struct Slot {
        WaitingFragment fragment;
        Index previous = none;  ///< in free_, waiting_ or ready_
        Index next = none;
        Index peer = none;  ///< in one of lists_
    };

    const WaitingFragment* at(Index index) const { return index != none ? &slots_[index].fragment : nullptr; }
    Queue& list_of(const FragmentKey& key) { return lists_[hash_(key) & (lists_.size() - 1)]; }
    void push(Queue& queue, Index index);
    void remove(Queue& queue, Index index);
    void release(Queue& queue);
    void append(Queue& list, Index index);

    FragmentHash hash_;
    std::size_t used_ = 0;
    std::pmr::vector<Slot> slots_;
    std::pmr::vector<Queue> lists_;  // the waiting ones by their hash, oldest first
    Queue free_;
    Queue waiting_;  // oldest first
    Queue ready_;
};

}  // namespace flowtap::dataplane::match
