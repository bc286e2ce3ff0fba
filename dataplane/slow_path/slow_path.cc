#include "dataplane/slow_path/slow_path.h"

#include "crypto/esp.h"
#include "dataplane/slow_path/kernel_setup.h"

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

namespace flowtap::dataplane::slow_path {
namespace {

/// Frames of the kernel in one turn.
constexpr std::size_t kernel_frames = burst_size;
constexpr unsigned send_retries = 4;
/// A port cannot wake anybody: so often it is looked at while nothing comes.
constexpr int idle_ms = 1;
constexpr int lower_priority = 10;

static_assert(
    RTE_PKTMBUF_HEADROOM >= crypto::largest_headroom,
    "a frame of the kernel is sealed in its buffer: its Ethernet header makes room for the new one");

std::span<std::uint8_t> bytes_of(rte_mbuf& mbuf) {
    return {rte_pktmbuf_mtod(&mbuf, std::uint8_t*), mbuf.data_len};
}

lib::SlowPathCounter cause_of(crypto::SealVerdict verdict, crypto::Shortage shortage) {
    using enum lib::SlowPathCounter;
    if (verdict == crypto::SealVerdict::no_counter) {
        return shortage == crypto::Shortage::sequence_end ? tx_sequence_end : tx_no_lease;
    }
    return verdict == crypto::SealVerdict::too_big ? tx_too_big : tx_seal_failed;
}

lib::SlowPathCounter counter_of(crypto::OpenVerdict verdict) {
    using Counter = lib::SlowPathCounter;
    using enum crypto::OpenVerdict;
    switch (verdict) {
        case opened:
            return Counter::esp_opened;
        case dummy:
            return Counter::esp_dummy;
        case replayed:
        case too_old:
            return Counter::esp_refused_replayed;
        case bad_icv:
            return Counter::esp_refused_bad_icv;
        case wrong_spi:
            return Counter::esp_refused_unknown_spi;
        default:
            return Counter::esp_refused_malformed;
    }
}

}  // namespace

std::uint32_t data_room(std::uint32_t mtu) {
    return mtu + RTE_ETHER_HDR_LEN + static_cast<std::uint32_t>(crypto::largest_tailroom);
}

SlowPath::SlowPath(const Parts& parts, const lib::MacAddress& mac, TapDevice tap, NeighbourWatch neighbours,
                   crypto::Sealer sealer, crypto::Opener opener)
    : parts_(parts),
      mac_(mac),
      tap_(std::move(tap)),
      neighbours_(std::move(neighbours)),
      next_hops_(parts.config, parts.next_hops, parts.status.next_hops),
      listener_{.begin = [this] { next_hops_.begin(); },
                .learn = [this](const Neighbour& neighbour) { next_hops_.learn(neighbour); },
                .end = [this] { next_hops_.end(); }},
      rules_(parts.config, mac),
      sealer_(std::move(sealer)),
      opener_(std::move(opener)) {}

SlowPath::~SlowPath() {
    if (thread_.joinable()) {
        thread_.request_stop();
        thread_.join();
    }
    rte_pktmbuf_free(spare_);
}

void SlowPath::start() {
    thread_ = std::jthread([this](const std::stop_token& stop) {
        pthread_setname_np(pthread_self(), "slow-path");
        // A thread of its own for the scheduler too: the manager goes first.
        setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), lower_priority);
        const bool registered = rte_thread_register() == 0;  // else its buffers come without a cache
        try {
            run(stop);
        } catch (const std::exception& error) {
            spdlog::critical("the slow path has ended: {}; wires and copies go on", error.what());
        }
        if (registered) {
            rte_thread_unregister();
        }
    });
}

void SlowPath::run(const std::stop_token& stop) {
    bool idle = false;
    while (!stop.stop_requested()) {
        wait(idle);
        parts_.quiescence.join(parts_.reader);
        idle = turn() == 0;
        parts_.quiescence.leave(parts_.reader);
        lib::add(parts_.status.heartbeat, 1);
    }
}

void SlowPath::wait(bool idle) {
    std::array<pollfd, 2> descriptors{pollfd{tap_.fd(), POLLIN, 0}, pollfd{neighbours_.fd(), POLLIN, 0}};
    poll(descriptors.data(), descriptors.size(), idle ? idle_ms : 0);
    neighbours_.read(listener_);
}

/// Returns how many frames there were.
std::uint32_t SlowPath::turn() {
    const auto now = static_cast<std::uint64_t>(
        std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
    from_port_.advance(now);
    from_kernel_.advance(now);
    const std::uint32_t count = serve_port() + serve_kernel();
    send();
    return count;
}

std::uint32_t SlowPath::serve_port() {
    std::uint32_t total = 0;
    lib::PortCounters& counters = parts_.status.port;
    for (std::uint16_t queue = 0; queue < parts_.rx_queues && !parts_.port.lost(); ++queue) {
        std::array<rte_mbuf*, burst_size> received;
        const std::uint16_t frames = rte_eth_rx_burst(parts_.port.id(), queue, received.data(), burst_size);
        for (rte_mbuf* mbuf : std::span(received).first(frames)) {
            lib::add(counters[lib::PortCounter::rx_bytes], mbuf->pkt_len);
            if (from_port_.take()) {
                arrive(*mbuf);
            } else {
                count(Counter::rx_over_rate);
            }
            rte_pktmbuf_free(mbuf);
        }
        lib::add(counters[lib::PortCounter::rx_packets], frames);
        total += frames;
    }
    return total;
}

void SlowPath::arrive(rte_mbuf& mbuf) {
    if (!rte_pktmbuf_is_contiguous(&mbuf) || (mbuf.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) {
        // Longer than the link's MTU, or tagged: nothing that the kernel's interface could receive.
        count(rte_pktmbuf_is_contiguous(&mbuf) ? Counter::rx_other_protocol : Counter::rx_malformed);
        return;
    }
    const std::span<std::uint8_t> frame = bytes_of(mbuf);
    const Arrival arrival = rules_.arriving(frame);
    switch (arrival.way) {
        case Arrival::Way::kernel:
            hand_over(frame, Counter::to_kernel);
            break;
        case Arrival::Way::open:
            open(frame, arrival);
            break;
        case Arrival::Way::drop:
            count(arrival.cause);
            break;
    }
}

void SlowPath::hand_over(std::span<const std::uint8_t> frame, Counter counter) {
    count(tap_.write(frame) ? counter : Counter::rx_kernel_refused);
}

void SlowPath::open(std::span<std::uint8_t> frame, const Arrival& arrival) {
    const auto esp = frame.subspan(arrival.esp_offset, arrival.esp_length);
    for (const OpeningSa& opening : parts_.inbound.view()) {
        if (opening.in_udp != arrival.in_udp || parts_.config.tunnels[opening.tunnel].local != arrival.dest) {
            continue;
        }
        const crypto::Opened opened = opener_.open(*opening.sa, esp);
        if (opened.verdict == crypto::OpenVerdict::wrong_spi) {
            continue;
        }
        if (opened.verdict != crypto::OpenVerdict::opened) {
            count(counter_of(opened.verdict));
            return;
        }
        if (!rules_.may_come_out(opened.inner, opening.tunnel)) {
            count(Counter::esp_refused_policy);
            return;
        }
        // In front of the inner packet there were an IP header and an ESP header: room for an Ethernet
        // header.
        std::uint8_t* const start = opened.inner.data() - RTE_ETHER_HDR_LEN;
        auto* const ethernet = reinterpret_cast<rte_ether_hdr*>(start);
        std::ranges::copy(mac_, ethernet->dst_addr.addr_bytes);
        std::ranges::copy(routed_mac, ethernet->src_addr.addr_bytes);
        ethernet->ether_type = rte_cpu_to_be_16(
            opened.next_header == crypto::NextHeader::ipv4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
        hand_over({start, RTE_ETHER_HDR_LEN + opened.inner.size()}, Counter::esp_opened);
        return;
    }
    count(Counter::esp_refused_unknown_spi);
}

std::uint32_t SlowPath::serve_kernel() {
    std::uint32_t total = 0;
    while (total < kernel_frames && from_kernel_.any()) {
        // Without a buffer, or over the rate, the kernel's own queue waits, and is bounded by the kernel.
        spare_ = spare_ != nullptr ? spare_ : rte_pktmbuf_alloc(parts_.pool);
        if (spare_ == nullptr) {
            break;
        }
        const std::size_t size =
            tap_.read({rte_pktmbuf_mtod(spare_, std::uint8_t*), rte_pktmbuf_tailroom(spare_)});
        if (size == 0) {
            break;
        }
        ++total;
        static_cast<void>(from_kernel_.take());
        rte_mbuf* const mbuf = std::exchange(spare_, nullptr);
        mbuf->data_len = static_cast<std::uint16_t>(size);
        mbuf->pkt_len = mbuf->data_len;
        count(Counter::from_kernel);
        if (!depart(*mbuf)) {
            rte_pktmbuf_free(mbuf);
        }
    }
    return total;
}

/// Makes the frame ready to be sent; false: it is dropped, and counted.
bool SlowPath::depart(rte_mbuf& mbuf) {
    const Departure departure = rules_.departing(bytes_of(mbuf));
    bool good = false;
    switch (departure.way) {
        case Departure::Way::drop:
            count(departure.cause);
            return false;
        case Departure::Way::seal:
            good = seal(mbuf, departure);
            break;
        case Departure::Way::routed:
            good = address(mbuf, departure.tunnel ? parts_.next_hops.of_tunnel(*departure.tunnel)
                                                  : parts_.next_hops.of(departure.family));
            if (!good) {
                count(Counter::tx_no_next_hop);
            }
            break;
        case Departure::Way::link:
            good = true;
            break;
    }
    if (good) {
        ready_as_[ready_count_] =
            departure.way == Departure::Way::seal ? Counter::sent_sealed : Counter::sent_clear;
        ready_[ready_count_++] = &mbuf;
    }
    return good;
}

bool SlowPath::address(rte_mbuf& mbuf, NextHop hop) const {
    if (hop.known()) {
        std::ranges::copy(hop.mac(), rte_pktmbuf_mtod(&mbuf, rte_ether_hdr*)->dst_addr.addr_bytes);
    }
    return hop.known();
}

bool SlowPath::seal(rte_mbuf& mbuf, const Departure& departure) {
    const ActiveSa active = parts_.sas.view()[*departure.tunnel];
    const NextHop hop = parts_.next_hops.of_tunnel(*departure.tunnel);
    if (active.sa == nullptr || !hop.known() || departure.length > active.largest_inner) {
        count(active.sa == nullptr ? Counter::tx_no_sa
              : !hop.known()       ? Counter::tx_no_next_hop
                                   : Counter::tx_too_big);
        return false;
    }
    std::uint8_t* const inner = rte_pktmbuf_mtod_offset(&mbuf, std::uint8_t*, RTE_ETHER_HDR_LEN);
    const auto before = static_cast<std::uint32_t>(inner - static_cast<std::uint8_t*>(mbuf.buf_addr));
    crypto::SealJob job{.inner = inner, .length = departure.length, .room = mbuf.buf_len - before};
    crypto::CounterBlock block = active.sa->take(1);
    const crypto::Shortage shortage = block.shortage();
    if (sealer_.seal_burst(std::move(block), {&job, 1}) != 1) {
        count(cause_of(job.verdict, shortage));
        return false;
    }
    lib::SaCounters& counters = parts_.status.sas[static_cast<std::size_t>(active.slot)];
    lib::add(counters[lib::SaCounter::sealed_packets], 1);
    lib::add(counters[lib::SaCounter::sealed_bytes], departure.length);
    lib::add(counters[lib::SaCounter::encrypted_bytes],
             job.sealed_length - active.sa->headroom() - active.sa->suite().icv_size);

    const auto offset = job.sealed - static_cast<std::uint8_t*>(mbuf.buf_addr) -
                        static_cast<std::ptrdiff_t>(RTE_ETHER_HDR_LEN);
    mbuf.data_off = static_cast<std::uint16_t>(offset);
    mbuf.pkt_len = job.sealed_length + RTE_ETHER_HDR_LEN;
    mbuf.data_len = static_cast<std::uint16_t>(mbuf.pkt_len);
    auto* const ethernet = rte_pktmbuf_mtod(&mbuf, rte_ether_hdr*);
    std::ranges::copy(hop.mac(), ethernet->dst_addr.addr_bytes);
    std::ranges::copy(mac_, ethernet->src_addr.addr_bytes);
    ethernet->ether_type = rte_cpu_to_be_16(
        active.sa->outer().family() == lib::Family::ipv4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
    return true;
}

void SlowPath::send() {
    if (ready_count_ == 0) {
        return;
    }
    const std::span frames = std::span(ready_).first(ready_count_);
    std::array<std::uint32_t, burst_size> sizes;
    std::ranges::transform(frames, sizes.begin(), [](const rte_mbuf* mbuf) { return mbuf->pkt_len; });
    const std::size_t sent =
        parts_.port.lost() ? 0 : send_burst(parts_.port.id(), parts_.tx_queue, frames, send_retries);
    lib::PortCounters& counters = parts_.status.port;
    for (std::size_t i = 0; i < ready_count_; ++i) {
        if (i < sent) {
            count(ready_as_[i]);
            lib::add(counters[lib::PortCounter::tx_bytes], sizes[i]);
        } else {
            count(Counter::tx_full);
            rte_pktmbuf_free(ready_[i]);
        }
    }
    lib::add(counters[lib::PortCounter::tx_packets], sent);
    lib::add(counters[lib::PortCounter::tx_dropped], ready_count_ - sent);
    ready_count_ = 0;
}

}  // namespace flowtap::dataplane::slow_path
