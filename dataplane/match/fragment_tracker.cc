#include "dataplane/match/fragment_tracker.h"

#include "dataplane/match/byte_order.h"

namespace flowtap::dataplane::match {
namespace {

/// A tick is 2^20 TSC cycles, about 0.3 ms: they come round after weeks, and every entry has been swept long
/// before.
constexpr unsigned tick_shift = 20;
/// Datagrams that are known. A sender emits the fragments of one back to back; what splits them is a queue or
/// another path, so seconds are ample. Longer, and 16-bit identifications come again in the meantime (RFC
/// 4963); shorter, and a slow sender's last fragments are missed.
constexpr std::uint64_t known_seconds = 5;
/// Fragments that wait. Reordering is a matter of milliseconds; who has waited for a second, waits for
/// a first fragment that was lost or takes another way.
constexpr std::uint64_t waiting_seconds = 1;
/// Given up in one poll, and given up for one newcomer, at most: the longest frame takes as many buffers.
constexpr unsigned most_dropped = 8;
/// One poll in so many looks after one bucket of the table: all of it in seconds to a minute.
constexpr std::uint64_t sweep_interval = 64;

constexpr Ticks ticks(std::uint64_t tsc) {
    return static_cast<Ticks>(tsc >> tick_shift);
}

}  // namespace

FragmentTracker::FragmentTracker(const TapTable& taps, FragmentBuffers& buffers,
                                 lib::WorkerCounters& counters, const Options& options)
    : taps_(taps),
      buffers_(buffers),
      counters_(counters),
      patience_(ticks(waiting_seconds * options.clock_rate)),
      known_({.buckets = options.buckets,
              .lifetime = ticks(known_seconds * options.clock_rate),
              .seed = options.seed,
              .memory = options.memory}),
      waiting_(options.waiting, options.seed, options.memory) {}

std::uint64_t FragmentTracker::complete(HeaderBurst& burst, std::uint64_t tsc) {
    const Ticks now = ticks(tsc);
    std::uint64_t early = 0;
    // In the order in which they came, so that an identification may be used again within a burst.
    for_each_bit(taps_.first_fragment_decides(burst), [&](std::size_t i) {
        Headers& headers = burst.headers[i];
        if ((headers.flags & flag::later_fragment) == 0) {
            learn(headers, burst.port, now);
        } else if (!complete_one(headers, burst.port, now)) {
            early |= std::uint64_t{1} << i;
        }
    });
    // Their first one may have come behind them in the same burst.
    for_each_bit(early, [&](std::size_t i) {
        if (complete_one(burst.headers[i], burst.port, now)) {
            early &= ~(std::uint64_t{1} << i);
        }
    });
    return early;
}

void FragmentTracker::learn(const Headers& headers, std::uint16_t port, Ticks now) {
    if (!tells_upper(headers)) {
        return;
    }
    const FragmentKey key = fragment_key(headers, port);
    const UpperFacts facts = upper_of(headers);
    const FragmentTable::Learned learned = known_.learn(key, facts, now);
    if (learned.changed) {
        count(Counter::fragments_conflict);
    }
    if (learned.evicted) {
        count(Counter::fragments_table_full);
    }
    if (!waiting_.empty()) {
        count(Counter::fragments_resolved, waiting_.resolve(key, facts));
    }
}

bool FragmentTracker::complete_one(Headers& headers, std::uint16_t port, Ticks now) {
    const UpperFacts* const facts = known_.find(fragment_key(headers, port), now);
    if (facts == nullptr) {
        return false;
    }
    match::complete(headers, *facts);
    count(Counter::fragments_completed);
    return true;
}

void FragmentTracker::drop_oldest(Counter cause) {
    buffers_.free(waiting_.oldest()->frame);
    waiting_.drop_oldest();
    count(cause);
}

/// The oldest make room: what has waited long is not likely to be resolved.
rte_mbuf* FragmentTracker::copy_of(const rte_mbuf& frame) {
    for (unsigned dropped = 0;; ++dropped) {
        rte_mbuf* const copy = waiting_.full() ? nullptr : buffers_.copy(frame);
        if (copy != nullptr || dropped == most_dropped || waiting_.oldest() == nullptr) {
            return copy;
        }
        drop_oldest(Counter::fragments_held_full);
    }
}

void FragmentTracker::keep(const rte_mbuf& frame, std::uint16_t port, const EarlyFragment& early,
                           bool counted, std::uint64_t tsc) {
    count(Counter::fragments_early);
    rte_mbuf* const copy = copy_of(frame);
    if (copy == nullptr) {
        count(Counter::fragments_held_full);
        return;
    }
    waiting_.add({.key = fragment_key(early.headers, port),
                  .early = early,
                  .frame = copy,
                  .since = ticks(tsc),
                  .counted = counted});
}

void FragmentTracker::tend(std::uint64_t tsc) {
    const Ticks now = ticks(tsc);
    for (unsigned i = 0; i < most_dropped; ++i) {
        const WaitingFragment* const oldest = waiting_.oldest();
        if (oldest == nullptr || now - oldest->since < patience_) {
            break;
        }
        drop_oldest(Counter::fragments_unresolved);
    }
    if (++polls_ % sweep_interval == 0 && known_.size() != 0) {
        known_.sweep(now);
    }
}

bool FragmentTracker::take_resolved(ResolvedFragments& to) {
    to.count = 0;
    to.counted = 0;
    HeaderBurst& burst = to.headers;
    burst.ipv4 = burst.ipv6 = 0;
    for (const WaitingFragment* next = waiting_.ready(); next != nullptr && to.count < max_resolved;
         next = waiting_.ready()) {
        if (to.count == 0) {
            burst.port = next->key.port;
        } else if (burst.port != next->key.port) {
            break;
        }
        const std::size_t i = to.count++;
        Headers& headers = burst.headers[i];
        headers = next->early.headers;
        match::complete(headers, next->facts);
        const bool is_ipv4 = headers.family == lib::Family::ipv4;
        (is_ipv4 ? burst.ipv4 : burst.ipv6) |= std::uint64_t{1} << i;
        burst.source4[i] = load_be32(headers.source.data());
        burst.dest4[i] = load_be32(headers.dest.data());
        burst.addresses6[i] = headers.source.data();
        to.early[i] = next->early;
        to.frames[i] = next->frame;
        to.counted |= std::uint64_t{next->counted} << i;
        waiting_.drop_ready();
    }
    burst.count = static_cast<std::uint32_t>(to.count);
    burst.frames = burst.ipv4 | burst.ipv6;
    return to.count != 0;
}

void FragmentTracker::give_up() {
    while (waiting_.oldest() != nullptr) {
        drop_oldest(Counter::fragments_unresolved);
    }
}

}  // namespace flowtap::dataplane::match
