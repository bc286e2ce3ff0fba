#include "dataplane/worker.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_pause.h>

#include <array>
#include <bit>
#include <utility>

namespace flowtap::dataplane {
namespace {

/// A frame waits for a full transmit queue about 2 microseconds, during which a 10 Gbit/s link brings 30
/// more.
constexpr unsigned forward_retries = 32;
/// One poll in so many is timed on its own, so that the clock itself costs nothing.
constexpr std::uint64_t sample_interval = 64;
constexpr Backlog of_no_queue;

}  // namespace

Worker::Worker(Parts parts, Delivery delivery, rte_mempool* fragment_pool,
               const match::FragmentTracker::Options& fragments)
    : parts_(std::move(parts)),
      reader_(parts_.taps.simd()),
      delivery_(std::move(delivery)),
      fragment_copies_(fragment_pool),
      inner_(parts_.inner.any() ? std::make_unique<InnerStage>(parts_.inner, parts_.taps, parts_.own_flows,
                                                               parts_.status.counters)
                                : nullptr),
      fragments_(parts_.taps, fragment_copies_, parts_.status.counters, fragments) {}

void Worker::run() {
    while (parts_.orders.load(std::memory_order_acquire) == Order::wait) {
        rte_pause();
    }
    parts_.quiescence.join(parts_.reader);
    lib::WorkerStatus& status = parts_.status;
    now_ = rte_rdtsc();
    while (parts_.orders.load(std::memory_order_relaxed) != Order::stop) {
        std::uint32_t received = 0;
        for (const WorkerLane& lane : parts_.lanes) {
            received += serve(lane);
        }
        bool busy = received != 0;
        if (fragments_.busy()) [[unlikely]] {
            busy = tend_fragments() || busy;
        }
        parts_.quiescence.quiescent(parts_.reader);
        const std::uint64_t now = rte_rdtsc();
        lib::add(busy ? status.busy_cycles : status.idle_cycles, now - now_);
        lib::add(status.heartbeat, 1);
        now_ = now;
    }
    while (deliver_resolved()) {
    }
    fragments_.give_up();
    parts_.quiescence.leave(parts_.reader);
}

std::uint16_t Worker::serve(const WorkerLane& lane) {
    std::array<rte_mbuf*, burst_size> received;
    const std::uint16_t count = rte_eth_rx_burst(lane.rx->id(), lane.rx_queue, received.data(), burst_size);
    if (count == 0) {
        return 0;
    }
    const bool sampled = ++polls_ % sample_interval == 0;
    const std::uint64_t start = sampled ? rte_rdtsc() : 0;

    const Frames frames = std::span(received).first(count);
    const std::uint64_t bytes = reader_.read(frames, headers_);
    headers_.port = lane.rx->index();
    if (headers_.uneven != 0) {
        count_uneven();
    }
    lib::PortCounters& counters = parts_.status.ports[lane.rx->index()];
    lib::add(counters[lib::PortCounter::rx_packets], count);
    lib::add(counters[lib::PortCounter::rx_bytes], bytes);

    const Mask early = headers_.fragments != 0 ? fragments_.complete(headers_, now_) : 0;
    parts_.taps.classify(headers_, matches_);
    if (inner_) [[unlikely]] {
        inner_->add_matches(frames, headers_, matches_);
    }
    const Mask own = matches_.matched != 0 ? drop_own_output(headers_, 0) : 0;
    Mask stopped = 0;
    if (matches_.matched != 0) {
        if (parts_.stops.on()) [[unlikely]] {
            stopped = judge_burst(lane).stopped();
        }
        hold(frames);
    }
    match::for_each_bit(early, [&](std::size_t i) { rte_pktmbuf_refcnt_update(frames[i], 1); });
    headers_.headers.close(matches_.matched);
    if (stopped == 0) [[likely]] {
        forward(lane, frames, bytes);
    } else {
        forward_others(lane, frames, stopped);
    }
    const Mask counted = held_.empty() ? 0 : deliver(headers_, 0, lane.backlog);
    if (early != 0) [[unlikely]] {
        keep_early(frames, early, own, counted);
    }
    if (sampled) {
        lib::add(parts_.status.sampled_cycles, rte_rdtsc() - start);
        lib::add(parts_.status.sampled_frames, count);
    }
    return count;
}

void Worker::count_uneven() {
    match::for_each_bit(headers_.uneven, [&](std::size_t i) {
        if (const auto counter = match::counter_of(headers_.headers[i].verdict)) {
            lib::add(parts_.status.counters[*counter], 1);
        }
    });
}

/// Only frames that matched are asked, since what matches nothing is not copied anyhow. Returns those that it
/// took out; those of `told` have been counted before.
Worker::Mask Worker::drop_own_output(const match::HeaderBurst& burst, Mask told) {
    Mask own = 0;
    match::for_each_bit(matches_.matched, [&](std::size_t i) {
        if (parts_.own_flows.contains(burst, i)) [[unlikely]] {
            own |= Mask{1} << i;
            lib::add(parts_.status.counters[lib::WorkerCounter::own_output], (told >> i & 1) == 0 ? 1 : 0);
        }
    });
    matches_.matched &= ~own;
    return own;
}

Judgement Worker::judge_burst(const WorkerLane& lane) {
    delivery_.begin(headers_.port, matches_.generation, now_, lane.backlog);
    const Judgement judgement = judge(matches_, [&](const match::Match& match, std::size_t frame) {
        return delivery_.holds_back(match, headers_.headers, frame);
    });
    lib::PortCounters& counters = parts_.status.ports[lane.rx->index()];
    const auto count = [](Mask frames) { return static_cast<std::uint64_t>(std::popcount(frames)); };
    lib::add(counters[lib::PortCounter::redirected_frames], count(judgement.redirected));
    lib::add(counters[lib::PortCounter::blocked_frames], count(judgement.blocked));
    return judgement;
}

/// Keeps the matched frames beyond their sending.
void Worker::hold(Frames frames) {
    match::for_each_bit(matches_.matched,
                        [&](std::size_t i) { headers_.headers.move(i, held_.keep(*frames[i], i)); });
}

/// Gives the buffers of the stopped ones back: those that are owed to a tap are held by then. `frames` stays
/// as it is: places in it are places in the burst.
void Worker::forward_others(const WorkerLane& lane, Frames frames, Mask stopped) {
    std::array<rte_mbuf*, burst_size> others;
    std::size_t count = 0;
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        if ((stopped >> i & 1) != 0) {
            rte_pktmbuf_free(frames[i]);
        } else {
            bytes += frames[i]->pkt_len;
            others[count++] = frames[i];
        }
    }
    forward(lane, std::span(others).first(count), bytes);
}

void Worker::forward(const WorkerLane& lane, Frames frames, std::uint64_t bytes) {
    const std::uint16_t sent = lane.tx->lost()
                                   ? std::uint16_t{0}
                                   : send_burst(lane.tx->id(), lane.tx_queue, frames, forward_retries);
    lib::PortCounters& counters = parts_.status.ports[lane.tx->index()];
    if (sent < frames.size()) [[unlikely]] {
        for (rte_mbuf* frame : frames.subspan(sent)) {
            bytes -= frame->pkt_len;
            rte_pktmbuf_free(frame);
        }
        lib::add(counters[lib::PortCounter::tx_dropped], frames.size() - sent);
    }
    lib::add(counters[lib::PortCounter::tx_packets], sent);
    lib::add(counters[lib::PortCounter::tx_bytes], bytes);
}

/// Delivers the held frames of the burst, and lets go of them. Those of `counted` are not counted as matched
/// packets again; returns the others that were.
Worker::Mask Worker::deliver(const match::HeaderBurst& burst, Mask counted, const Backlog& backlog) {
    lib::WorkerCounters& counters = parts_.status.counters;
    Mask matched = 0;
    std::uint64_t bytes = 0;
    for (const HeldFrame& frame : held_.frames()) {
        delivery_.expect(matches_.frames[frame.place]);
    }
    delivery_.begin(burst.port, matches_.generation, now_, backlog);
    for (const HeldFrame& frame : held_.frames()) {
        const std::size_t i = frame.place;
        const std::uint32_t copied = delivery_.copy(frame, burst.headers, matches_.frames[i]);
        if (copied != 0 && (counted >> i & 1) == 0) {
            matched |= Mask{1} << i;
            bytes += copied;
        }
    }
    delivery_.flush();
    held_.release();
    lib::add(counters[lib::WorkerCounter::matched_packets],
             static_cast<std::uint64_t>(std::popcount(matched)));
    lib::add(counters[lib::WorkerCounter::matched_bytes], bytes);
    return matched;
}

void Worker::keep_early(Frames frames, Mask early, Mask own, Mask counted) {
    match::for_each_bit(early, [&](std::size_t i) {
        fragments_.keep(*frames[i], headers_.port,
                        {.headers = headers_.headers[i],
                         .generation = matches_.generation,
                         .unmatched = (own >> i & 1) != 0},
                        (counted >> i & 1) != 0, now_);
        rte_pktmbuf_free(frames[i]);
    });
}

/// True if it delivered any.
bool Worker::tend_fragments() {
    const bool delivered = deliver_resolved();
    fragments_.tend(now_);
    return delivered;
}

/// One burst at most, since frames of the wires are waiting. False: there was none.
bool Worker::deliver_resolved() {
    if (!fragments_.take_resolved(resolved_)) {
        return false;
    }
    parts_.taps.classify_rest(resolved_.headers, std::span(resolved_.early).first(resolved_.count), matches_);
    Mask told = 0;
    for (std::size_t i = 0; i < resolved_.count; ++i) {
        told |= Mask{resolved_.early[i].unmatched} << i;
    }
    (void)drop_own_output(resolved_.headers, told);
    for (std::size_t i = 0; i < resolved_.count; ++i) {
        if ((matches_.matched >> i & 1) == 0) {
            rte_pktmbuf_free(resolved_.frames[i]);
            continue;
        }
        held_.adopt(*resolved_.frames[i], i);
    }
    (void)deliver(resolved_.headers, resolved_.counted, of_no_queue);
    return true;
}

}  // namespace flowtap::dataplane
