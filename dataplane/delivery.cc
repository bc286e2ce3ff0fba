#include "dataplane/delivery.h"

#include "crypto/esp.h"
#include "dataplane/burst.h"

#include <rte_ether.h>
#include <rte_ip.h>

#include <algorithm>
#include <cassert>
#include <cstring>

namespace flowtap::dataplane {
namespace {

constexpr std::uint32_t largest_packet = 65'535;  // the length fields of IP
constexpr unsigned send_retries = 4;              // few: meanwhile through traffic waits

static_assert(RTE_PKTMBUF_HEADROOM >= RTE_ETHER_HDR_LEN + crypto::largest_headroom,
              "all that is put in front of the encapsulated packet has to fit the headroom");

std::uint16_t ether_type(lib::Family family) {
    return rte_cpu_to_be_16(family == lib::Family::ipv4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
}

lib::WorkerCounter cause_of(crypto::SealVerdict verdict, crypto::Shortage shortage) {
    using enum lib::WorkerCounter;
    if (verdict == crypto::SealVerdict::no_counter) {
        return shortage == crypto::Shortage::sequence_end ? copy_sequence_end : copy_no_lease;
    }
    return verdict == crypto::SealVerdict::too_big ? copy_too_big : copy_seal_failed;
}

}  // namespace

std::uint32_t copy_data_room(std::uint32_t mtu) {
    return mtu + static_cast<std::uint32_t>(crypto::largest_tailroom);
}

Delivery::Delivery(const Parts& parts, crypto::Sealer sealer)
    : parts_(parts), sealer_(std::move(sealer)), view_(&parts.sas.view()), identification_(parts.worker) {
    rte_ether_addr own{};
    if (rte_eth_macaddr_get(parts.port.id(), &own) == 0) {
        std::copy_n(own.addr_bytes, source_.size(), source_.begin());
    }
}

bool Delivery::copy(const rte_mbuf& frame, const match::Headers& headers,
                    const match::FrameMatches& matches) {
    assert(std::uint32_t{headers.l3_offset} + headers.l3_length <= frame.pkt_len ||
           !match::matchable(headers.verdict));
    bool any = false;
    lib::add(parts_.status.counters[lib::WorkerCounter::match_overflow], matches.overflow);
    for (const match::Match& match : matches) {
        const TapCopies& copies = copies_of(match.payload);
        const Original original = copies.layer2 ? Original{frame, 0, frame.pkt_len}
                                                : Original{frame, headers.l3_offset, headers.l3_length};
        if (!is_decided(match.payload) && !takes(match, copies, headers, original.length)) {
            continue;
        }
        any = true;
        lib::add(parts_.status.counters[lib::WorkerCounter::matches], copies.targets.size());
        for (const CopyTarget& target : copies.targets) {
            const Outcome outcome = prepare(original, target, match.slot);
            if (outcome != Outcome::copies_sent) {
                settle({.slot = match.slot, .bytes = original.length, .outcome = outcome});
            }
        }
    }
    return any;
}

bool Delivery::holds_back(const match::Match& match, const match::Headers& headers) {
    const bool takes_it = takes(match, copies_of(match.payload), headers, headers.l3_length);
    lib::add(parts_.taps[static_cast<std::size_t>(match.slot)][lib::TapCounter::stopped_packets],
             takes_it ? 1 : 0);
    return takes_it;
}

/// Whether the tap's terms let it take the frame; if so, it is counted.
bool Delivery::takes(const match::Match& match, const TapCopies& copies, const match::Headers& headers,
                     std::uint32_t bytes) {
    bool last = false;
    if (const TapTerms* terms = copies.terms.load(std::memory_order_acquire); terms != nullptr) [[unlikely]] {
        terms = terms_of(terms, generation_);
        const Decision decision =
            terms == nullptr ? Decision::copy : decide(*terms, match.slot, headers, bytes);
        if (decision == Decision::leave) {
            return false;
        }
        last = decision == Decision::copy_last;
    }
    lib::TapCounters& tap = parts_.taps[static_cast<std::size_t>(match.slot)];
    lib::add(tap[lib::TapCounter::matched_packets], 1);
    lib::add(tap[lib::TapCounter::matched_bytes], bytes);
    if (last) {
        parts_.over.post(static_cast<std::size_t>(match.slot));  // its counters say so by now
    }
    return true;
}

/// What a tap with limits or drop policies does with a frame that it matches.
Delivery::Decision Delivery::decide(const TapTerms& terms, lib::TapSlot slot, const match::Headers& headers,
                                    std::uint32_t bytes) {
    lib::TapCounters& tap = parts_.taps[static_cast<std::size_t>(slot)];
    if (parts_.policies.any_matches(terms.service.suppressed, headers, port_)) {
        const std::uint64_t one = terms.over() ? 0 : 1;  // of a tap that is over nothing is counted
        lib::add(tap[lib::TapCounter::suppressed], one);
        lib::add(parts_.status.counters[lib::WorkerCounter::suppressed], one);
        return Decision::leave;
    }
    switch (admit(terms, parts_.worker, tap, bytes)) {
        case Admission::admitted:
            return Decision::copy;
        case Admission::last:
            return Decision::copy_last;
        case Admission::ended:
            parts_.over.post(static_cast<std::size_t>(slot));
            break;
        case Admission::refused:
            break;
    }
    return Decision::leave;
}

/// Queues the copy's packets, or says why it is lost.
Delivery::Outcome Delivery::prepare(const Original& original, const CopyTarget& target, lib::TapSlot slot) {
    if (parts_.port.lost()) {
        return Outcome::copy_port_lost;
    }
    if (target.route == RouteKind::none) {
        return Outcome::copy_no_route;
    }
    const ActiveSa* sa = target.route == RouteKind::tunnel ? &(*view_)[target.tunnel] : nullptr;
    if (sa != nullptr && sa->sa == nullptr) {
        return Outcome::copy_no_sa;
    }
    const NextHop next_hop = sa != nullptr ? parts_.next_hops.of_tunnel(target.tunnel)
                                           : parts_.next_hops.of(target.encapsulation.family);
    if (!next_hop.known()) [[unlikely]] {
        return Outcome::copy_no_next_hop;
    }
    const Encapsulation& encapsulation = target.encapsulation;
    if (original.length + encapsulation.size() > largest_packet) {
        return Outcome::copy_too_big;
    }
    Datagram datagram{.body_length = original.length, .identification = identification_};
    identification_ += parts_.workers;
    if (encapsulation.family == lib::Family::ipv6) {
        rte_raw_cksum_mbuf(&original.frame, original.offset, original.length, &datagram.body_sum);
    }
    const std::uint32_t largest = sa != nullptr ? sa->largest_inner : parts_.mtu;
    const std::uint32_t count = count_pieces(encapsulation, datagram, largest);
    if (count > capacity) {
        return Outcome::copy_too_big;
    }
    if (packet_count_ + count > capacity || copy_count_ == capacity) {
        flush();
    }
    std::array<rte_mbuf*, capacity> mbufs;
    if (rte_pktmbuf_alloc_bulk(parts_.pool, mbufs.data(), count) != 0) {
        return Outcome::copy_no_buffer;
    }
    copies_[copy_count_] = {.slot = slot, .bytes = original.length};
    std::uint32_t offset = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        const Piece piece = next_piece(encapsulation, datagram, offset, largest);
        add_packet(original, target, sa, next_hop, datagram, piece, mbufs[i]);
        offset += piece.length;
    }
    ++copy_count_;
    return Outcome::copies_sent;
}

void Delivery::add_packet(const Original& original, const CopyTarget& target, const ActiveSa* sa,
                          NextHop next_hop, const Datagram& datagram, const Piece& piece, rte_mbuf* mbuf) {
    auto* const inner = static_cast<std::uint8_t*>(mbuf->buf_addr) + RTE_PKTMBUF_HEADROOM;
    const auto header = static_cast<std::uint32_t>(header_size(target.encapsulation, piece));
    const std::uint32_t from = original.offset + piece.body_offset();
    const std::uint32_t length = piece.body_length();
    write_piece(target.encapsulation, datagram, piece, inner);

    crypto::SealJob& job = jobs_[packet_count_];
    job = {.inner = inner,
           .length = header + length,
           .room = static_cast<std::uint32_t>(mbuf->buf_len - RTE_PKTMBUF_HEADROOM)};
    assert(job.length <= job.room);
    if (sa != nullptr && from + length <= original.frame.data_len) {
        job.body = rte_pktmbuf_mtod_offset(&original.frame, const std::uint8_t*, from);
        job.body_length = length;
    } else if (const void* body = rte_pktmbuf_read(&original.frame, from, length, inner + header);
               body != inner + header) {
        std::memcpy(inner + header, body, length);
    }
    const lib::Family family = sa != nullptr ? sa->sa->outer().family() : target.encapsulation.family;
    packets_[packet_count_++] = {.mbuf = mbuf,
                                 .sa = sa,
                                 .next_hop = next_hop,
                                 .copy = static_cast<std::uint8_t>(copy_count_),
                                 .ether_type = ether_type(family)};
}

void Delivery::settle(const Copy& copy) {
    lib::TapCounters& tap = parts_.taps[static_cast<std::size_t>(copy.slot)];
    lib::add(parts_.status.counters[copy.outcome], 1);
    if (copy.outcome == Outcome::copies_sent) {
        lib::add(tap[lib::TapCounter::copies_sent], 1);
    } else {
        lib::add(tap[lib::TapCounter::copies_dropped], 1);
        lib::add(tap[lib::TapCounter::dropped_bytes], copy.bytes);
    }
}

void Delivery::flush() {
    if (packet_count_ == 0) {
        return;
    }
    seal();
    send();
    for (const Copy& copy : std::span(copies_).first(copy_count_)) {
        settle(copy);
    }
    packet_count_ = 0;
    copy_count_ = 0;
}

/// A burst for each SA; nearly always there is one.
void Delivery::seal() {
    std::uint64_t left = 0;
    static_assert(capacity <= 64);
    for (std::size_t i = 0; i < packet_count_; ++i) {
        left |= std::uint64_t{packets_[i].sa != nullptr} << i;
    }
    while (left != 0) {
        const ActiveSa& sa = *packets_[static_cast<std::size_t>(std::countr_zero(left))].sa;
        std::array<std::uint8_t, capacity> indices;
        std::size_t count = 0;
        for (std::uint64_t rest = left; rest != 0; rest &= rest - 1) {
            const auto i = static_cast<std::uint8_t>(std::countr_zero(rest));
            if (packets_[i].sa == &sa) {
                indices[count++] = i;
                left &= ~(std::uint64_t{1} << i);
            }
        }
        seal_for(sa, std::span(indices).first(count));
    }
}

void Delivery::seal_for(const ActiveSa& sa, std::span<const std::uint8_t> packets) {
    const bool all = packets.size() == packet_count_;
    if (!all) {
        std::ranges::transform(packets, scratch_.begin(), [this](std::uint8_t i) { return jobs_[i]; });
    }
    const std::span<crypto::SealJob> jobs = std::span(all ? jobs_ : scratch_).first(packets.size());
    crypto::CounterBlock block = sa.sa->take(static_cast<std::uint32_t>(jobs.size()));
    const crypto::Shortage shortage = block.shortage();
    const std::size_t sealed = sealer_.seal_burst(std::move(block), jobs);

    std::uint64_t bytes = 0;
    for (std::size_t k = 0; k < jobs.size(); ++k) {
        const crypto::SealJob& job = jobs[k];
        if (job.verdict == crypto::SealVerdict::sealed) [[likely]] {
            bytes += job.length;
        } else {
            copies_[packets_[packets[k]].copy].outcome = cause_of(job.verdict, shortage);
        }
        if (!all) {
            jobs_[packets[k]] = job;
        }
    }
    lib::SaCounters& counters = parts_.status.sas[static_cast<std::size_t>(sa.slot)];
    lib::add(counters[lib::SaCounter::sealed_packets], sealed);
    lib::add(counters[lib::SaCounter::sealed_bytes], bytes);
}

void Delivery::send() {
    std::array<rte_mbuf*, capacity> ready;
    std::array<std::uint8_t, capacity> owner;
    std::size_t count = 0;
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < packet_count_; ++i) {
        const Packet& packet = packets_[i];
        if (copies_[packet.copy].outcome != Outcome::copies_sent) [[unlikely]] {
            rte_pktmbuf_free(packet.mbuf);
            continue;
        }
        const crypto::SealJob& job = jobs_[i];
        const std::uint8_t* start = packet.sa != nullptr ? job.sealed : job.inner;
        const std::uint32_t length = packet.sa != nullptr ? job.sealed_length : job.length;
        rte_mbuf* mbuf = packet.mbuf;
        const auto offset = start - static_cast<const std::uint8_t*>(mbuf->buf_addr) - RTE_ETHER_HDR_LEN;
        mbuf->data_off = static_cast<std::uint16_t>(offset);
        mbuf->pkt_len = length + RTE_ETHER_HDR_LEN;
        mbuf->data_len = static_cast<std::uint16_t>(mbuf->pkt_len);
        auto* ethernet = rte_pktmbuf_mtod(mbuf, rte_ether_hdr*);
        std::ranges::copy(packet.next_hop.mac(), ethernet->dst_addr.addr_bytes);
        std::ranges::copy(source_, ethernet->src_addr.addr_bytes);
        ethernet->ether_type = packet.ether_type;
        bytes += mbuf->pkt_len;
        owner[count] = packet.copy;
        ready[count++] = mbuf;
    }
    const std::size_t sent =
        send_burst(parts_.port.id(), parts_.queue, std::span(ready).first(count), send_retries);
    for (std::size_t i = sent; i < count; ++i) {
        copies_[owner[i]].outcome = Outcome::copy_tx_full;
        bytes -= ready[i]->pkt_len;
        rte_pktmbuf_free(ready[i]);
    }
    lib::PortCounters& counters = parts_.status.ports[parts_.port.index()];
    lib::add(counters[lib::PortCounter::tx_packets], sent);
    lib::add(counters[lib::PortCounter::tx_bytes], bytes);
    lib::add(counters[lib::PortCounter::tx_dropped], count - sent);
}

}  // namespace flowtap::dataplane
