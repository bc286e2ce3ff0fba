#include "dataplane/worker.h"

#include "dataplane/match/chained_frames.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_pause.h>
#include <rte_prefetch.h>

#include <bit>
#include <utility>

namespace flowtap::dataplane {
namespace {

/// A frame waits for a full transmit queue about 2 microseconds, during which a 10 Gbit/s link brings 30
/// more.
constexpr unsigned forward_retries = 32;
/// One poll in so many is timed on its own, so that the clock itself costs nothing.
constexpr std::uint64_t sample_interval = 64;

}  // namespace

Worker::Worker(Parts parts, Delivery delivery) : parts_(std::move(parts)), delivery_(std::move(delivery)) {}

void Worker::run() {
    while (parts_.orders.load(std::memory_order_acquire) == Order::wait) {
        rte_pause();
    }
    parts_.quiescence.join(parts_.reader);
    lib::WorkerStatus& status = parts_.status;
    std::uint64_t last = rte_rdtsc();
    while (parts_.orders.load(std::memory_order_relaxed) != Order::stop) {
        std::uint32_t received = 0;
        for (const WorkerLane& lane : parts_.lanes) {
            received += serve(lane);
        }
        parts_.quiescence.quiescent(parts_.reader);
        const std::uint64_t now = rte_rdtsc();
        lib::add(received != 0 ? status.busy_cycles : status.idle_cycles, now - last);
        lib::add(status.heartbeat, 1);
        last = now;
    }
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
    const std::uint64_t bytes = parse(frames);
    headers_.port = lane.rx->index();
    lib::PortCounters& counters = parts_.status.ports[lane.rx->index()];
    lib::add(counters[lib::PortCounter::rx_packets], count);
    lib::add(counters[lib::PortCounter::rx_bytes], bytes);

    parts_.taps.classify(headers_, matches_);
    const std::size_t held = matches_.matched != 0 ? hold(frames) : 0;
    forward(lane, frames, bytes);
    if (held != 0) {
        deliver(held);
    }
    if (sampled) {
        lib::add(parts_.status.sampled_cycles, rte_rdtsc() - start);
        lib::add(parts_.status.sampled_frames, count);
    }
    return count;
}

/// Returns the bytes of all frames.
std::uint64_t Worker::parse(Frames frames) {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const rte_mbuf* frame = frames[i];
        views_[i] = match::first_buffer(*frame);
        rte_prefetch0(views_[i].data);
        bytes += frame->pkt_len;
    }
    match::parse_burst(std::span(views_).first(frames.size()), headers_);
    if (headers_.uneven != 0) {
        match::parse_chained(frames, headers_);
        count_uneven();
    }
    return bytes;
}

void Worker::count_uneven() {
    for (std::uint64_t rest = headers_.uneven; rest != 0; rest &= rest - 1) {
        const auto i = static_cast<std::size_t>(std::countr_zero(rest));
        if (const auto counter = match::counter_of(headers_.headers[i].verdict)) {
            lib::add(parts_.status.counters[*counter], 1);
        }
    }
}

/// Only frames that matched are asked, since what matches nothing is not copied anyhow.
void Worker::drop_own_output() {
    for (std::uint64_t rest = matches_.matched; rest != 0; rest &= rest - 1) {
        const auto i = static_cast<std::size_t>(std::countr_zero(rest));
        if (parts_.own_flows.contains(headers_.headers[i])) [[unlikely]] {
            matches_.matched &= ~(std::uint64_t{1} << i);
            lib::add(parts_.status.counters[lib::WorkerCounter::own_output], 1);
        }
    }
}

/// Keeps the matched frames' buffers beyond their sending; returns how many.
std::size_t Worker::hold(Frames frames) {
    drop_own_output();
    std::size_t held = 0;
    for (std::uint64_t rest = matches_.matched; rest != 0; rest &= rest - 1) {
        const auto i = static_cast<std::size_t>(std::countr_zero(rest));
        rte_pktmbuf_refcnt_update(frames[i], 1);
        held_frames_[held] = frames[i];
        held_places_[held++] = static_cast<std::uint8_t>(i);
    }
    return held;
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

void Worker::deliver(std::size_t held) {
    lib::WorkerCounters& counters = parts_.status.counters;
    delivery_.begin(headers_.port, matches_.generation);
    for (std::size_t k = 0; k < held; ++k) {
        const std::size_t i = held_places_[k];
        const match::Headers& headers = headers_.headers[i];
        if (delivery_.copy(*held_frames_[k], headers, matches_.frames[i])) {
            lib::add(counters[lib::WorkerCounter::matched_packets], 1);
            lib::add(counters[lib::WorkerCounter::matched_bytes],
                     match::matchable(headers.verdict) ? headers.l3_length : held_frames_[k]->pkt_len);
        }
    }
    delivery_.flush();
    for (rte_mbuf* frame : std::span(held_frames_).first(held)) {
        rte_pktmbuf_free(frame);
    }
}

}  // namespace flowtap::dataplane
