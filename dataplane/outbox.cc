#include "dataplane/outbox.h"

#include "crypto/esp.h"
#include "dataplane/burst.h"

#include <rte_byteorder.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <bit>
#include <functional>

namespace flowtap::dataplane {
namespace {

constexpr unsigned send_retries = 4;  // few: meanwhile through traffic waits

static_assert(RTE_PKTMBUF_HEADROOM >= 16 + crypto::largest_headroom,
              "all that is put in front of the encapsulated packet has to fit the headroom");

lib::WorkerCounter cause_of(crypto::SealVerdict verdict, crypto::Shortage shortage) {
    using enum lib::WorkerCounter;
    if (verdict == crypto::SealVerdict::no_counter) {
        return shortage == crypto::Shortage::sequence_end ? copy_sequence_end : copy_no_lease;
    }
    return verdict == crypto::SealVerdict::too_big ? copy_too_big : copy_seal_failed;
}

}  // namespace

Outbox::Outbox(const Parts& parts, crypto::Sealer sealer) : parts_(parts), sealer_(std::move(sealer)) {
    rte_ether_addr own{};
    (void)rte_eth_macaddr_get(parts.port.id(), &own);  // a port without an address sends zeros
    for (const auto& [family, type] : {std::pair{lib::Family::ipv4, std::uint16_t{RTE_ETHER_TYPE_IPV4}},
                                       std::pair{lib::Family::ipv6, std::uint16_t{RTE_ETHER_TYPE_IPV6}}}) {
        const rte_ether_hdr header{.dst_addr = {}, .src_addr = own, .ether_type = rte_cpu_to_be_16(type)};
        for (Header& each : {std::ref(clear_[place_of(family)]), std::ref(sealed_[place_of(family)])}) {
            std::memcpy(each.ethernet.data() + ethernet_pad, &header, sizeof header);
        }
    }
    begin();
}

void Outbox::flush() {
    if (numbering_.any()) [[unlikely]] {
        numbering_.number();
    }
    if (packet_count_ == 0) {
        return;
    }
    if (job_count_ != 0) {
        seal();
    }
    send();
    settle();
    bytes_ = 0;
    failed_ = false;
    packet_count_ = 0;
    copy_count_ = 0;
    job_count_ = 0;
    numbering_.clear();
}

/// A burst for each SA; nearly always there is one.
void Outbox::seal() {
    const ActiveSa* const first = sas_[0];
    const auto all = std::span(sas_).first(job_count_);
    if (std::ranges::all_of(all, [first](const ActiveSa* sa) { return sa == first; })) {
        seal_for(*first, std::span(jobs_).first(job_count_), job_packets_);
        return;
    }
    static_assert(capacity <= 64);
    for (std::uint64_t left = job_count_ == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << job_count_) - 1;
         left != 0;) {
        const ActiveSa& sa = *sas_[static_cast<std::size_t>(std::countr_zero(left))];
        std::array<std::uint8_t, capacity> packets;
        std::size_t count = 0;
        for (std::uint64_t rest = left; rest != 0; rest &= rest - 1) {
            const auto k = static_cast<std::size_t>(std::countr_zero(rest));
            if (sas_[k] == &sa) {
                packets[count] = job_packets_[k];
                scratch_[count++] = jobs_[k];
                left &= ~(std::uint64_t{1} << k);
            }
        }
        seal_for(sa, std::span(scratch_).first(count), packets);
    }
}

/// `packets`: one for each job.
void Outbox::seal_for(const ActiveSa& sa, std::span<crypto::SealJob> jobs,
                      std::span<const std::uint8_t> packets) {
    Header& header = sealed_[place_of(sa.sa->outer().family())];
    header.set_hop(parts_.next_hops.of_tunnel(sa.tunnel));
    if (!header.hop.known()) [[unlikely]] {  // before any counter is taken
        for (std::size_t k = 0; k < jobs.size(); ++k) {
            fail(packets[k], Outcome::copy_no_next_hop);
        }
        return;
    }
    crypto::CounterBlock block = sa.sa->take(static_cast<std::uint32_t>(jobs.size()));
    const crypto::Shortage shortage = block.shortage();
    const std::size_t sealed = sealer_.seal_burst(std::move(block), jobs);

    std::uint64_t bytes = 0;
    std::uint64_t outer_bytes = 0;
    for (std::size_t k = 0; k < jobs.size(); ++k) {
        const crypto::SealJob& job = jobs[k];
        if (job.verdict == crypto::SealVerdict::sealed) [[likely]] {
            bytes += job.length;
            outer_bytes += job.sealed_length;
            finish(*packets_[packets[k]], job.sealed, job.sealed_length, header.ethernet);
        } else {
            fail(packets[k], cause_of(job.verdict, shortage));
        }
    }
    lib::SaCounters& counters = parts_.status.sas[static_cast<std::size_t>(sa.slot)];
    lib::add(counters[lib::SaCounter::sealed_packets], sealed);
    lib::add(counters[lib::SaCounter::sealed_bytes], bytes);
    lib::add(counters[lib::SaCounter::encrypted_bytes],
             outer_bytes - sealed * (sa.sa->headroom() + sa.sa->suite().icv_size));
}

/// Gives back the packets of copies that are lost; returns how many are left, in order.
std::size_t Outbox::drop_failed() {
    std::size_t count = 0;
    bytes_ = 0;
    for (std::size_t i = 0; i < packet_count_; ++i) {
        rte_mbuf* const packet = packets_[i];
        if (copies_[owners_[i]].outcome != Outcome::copies_sent) {
            rte_pktmbuf_free(packet);
            continue;
        }
        bytes_ += packet->pkt_len;
        owners_[count] = owners_[i];
        packets_[count++] = packet;
    }
    return count;
}

void Outbox::send() {
    const std::size_t count = failed_ ? drop_failed() : packet_count_;
    const std::size_t sent =
        send_burst(parts_.port.id(), parts_.queue, std::span(packets_).first(count), send_retries);
    for (std::size_t i = sent; i < count; ++i) [[unlikely]] {
        fail(i, Outcome::copy_tx_full);
        bytes_ -= packets_[i]->pkt_len;
        rte_pktmbuf_free(packets_[i]);
    }
    lib::PortCounters& counters = parts_.status.ports[parts_.port.index()];
    lib::add(counters[lib::PortCounter::tx_packets], sent);
    lib::add(counters[lib::PortCounter::tx_bytes], bytes_);
    lib::add(counters[lib::PortCounter::tx_dropped], count - sent);
}

/// Copies of one tap to one destination often follow one another: they are added up first.
void Outbox::settle() {
    std::uint64_t sent = 0;
    std::uint64_t run = 0;
    lib::TapSlot slot = copies_[0].slot;
    std::uint16_t account = copies_[0].account;
    const auto add_run = [&] {
        lib::add(parts_.taps[static_cast<std::size_t>(slot)][lib::TapCounter::copies_sent], run);
        lib::add(parts_.status.destinations[account].counters[lib::DestinationCounter::copies_sent], run);
        sent += run;
        run = 0;
    };
    for (const Copy& copy : std::span(copies_).first(copy_count_)) {
        if (copy.outcome != Outcome::copies_sent) [[unlikely]] {
            settle_loss(copy);
            numbering_.lose_numbered(static_cast<std::size_t>(&copy - copies_.data()));
            continue;
        }
        if (copy.slot != slot || copy.account != account) {
            add_run();
            slot = copy.slot;
            account = copy.account;
        }
        ++run;
    }
    add_run();
    lib::add(parts_.status.counters[Outcome::copies_sent], sent);
}

void Outbox::settle_loss(const Copy& copy) {
    lib::TapCounters& tap = parts_.taps[static_cast<std::size_t>(copy.slot)];
    lib::add(parts_.status.counters[copy.outcome], 1);
    lib::add(tap[lib::TapCounter::copies_dropped], 1);
    lib::add(tap[lib::TapCounter::dropped_bytes], copy.bytes);
    lib::add(parts_.losses[static_cast<std::size_t>(copy.slot)][copy.outcome], 1);
    lib::add(parts_.status.destinations[copy.account].losses[copy.outcome], 1);
}

}  // namespace flowtap::dataplane
