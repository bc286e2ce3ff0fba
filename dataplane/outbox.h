// Copies of one worker on their way to the delivery port: sealed, sent and settled a burst at a time.
//
// Every copy that is put in ends in one of two ways: it is sent, or it is lost under a cause that has a
// counter, and flush() says which in the counters of the worker and the tap. A copy of several packets is
// sent when all of them are. What is the same for a burst is counted once a burst.
//
// Thread safety: the worker's own; no lock, allocation, exception, log or system call of its own.
#pragma once

#include "crypto/sealer.h"
#include "dataplane/copy_buffers.h"
#include "dataplane/copy_numbers.h"
#include "dataplane/next_hops.h"
#include "dataplane/port.h"
#include "dataplane/sa_table.h"
#include "lib/address.h"
#include "lib/status.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace flowtap::dataplane {

class Outbox {
  public:
    using Outcome = lib::WorkerCounter;          ///< copies_sent, or the cause of a loss
    static constexpr std::size_t capacity = 64;  ///< packets that wait for a flush

    struct Parts {
        const Port& port;
        std::uint16_t queue = 0;
        const NextHops& next_hops;
        lib::WorkerStatus& status;
        std::span<lib::TapCounters> taps;   ///< by TapSlot
        std::span<lib::CopyLosses> losses;  ///< likewise
    };

    Outbox(const Parts& parts, crypto::Sealer sealer);

    /// Before the copies of a burst: these go to where the next hops are now.
    void begin() {
        clear_[0].set_hop(parts_.next_hops.of(lib::Family::ipv4));
        clear_[1].set_hop(parts_.next_hops.of(lib::Family::ipv6));
    }
    /// There is a place for so many packets of one copy, at most `capacity`; flushes if there is not.
    void make_room(std::size_t packets) {
        if (packet_count_ + packets > capacity) [[unlikely]] {
            flush();
        }
    }
    /// A copy whose packets are added next. After make_room. `account`: lib::TapDestination's.
    void open(lib::TapSlot slot, std::uint16_t account, std::uint32_t bytes) {
        copies_[copy_count_++] = {
            .slot = slot, .bytes = bytes, .account = account, .outcome = Outcome::copies_sent};
    }
    /// Of the copy that was opened last: the IP packet of `length` bytes at `start` in the buffer.
    void add_clear(rte_mbuf& buffer, std::uint8_t* start, std::uint32_t length, lib::Family family) {
        add(buffer);
        if (const Header& header = clear_[place_of(family)]; header.hop.known()) [[likely]] {
            finish(buffer, start, length, header.ethernet);
        } else {
            fail(packet_count_ - 1, Outcome::copy_no_next_hop);
        }
    }
    /// The same of a packet that is yet to be sealed: the job is the caller's to fill in, all of its first
    /// part, and what it points to stays until flush().
    crypto::SealJob& add_to_seal(rte_mbuf& buffer, const ActiveSa& sa) {
        sas_[job_count_] = &sa;
        job_packets_[job_count_] = static_cast<std::uint8_t>(packet_count_);
        add(buffer);
        return jobs_[job_count_++];
    }
    /// The copy that was opened last is one that has a number, at `place`, whose `copy` is set here.
    void number(CopyNumbers& numbers, Numbering::Place place) {
        place.copy = static_cast<std::uint8_t>(copy_count_ - 1);
        numbering_.add(numbers, place);
    }
    /// A copy that has a number and no packet: besides lose().
    void lose_number(CopyNumbers& numbers) { numbering_.lose(numbers); }
    /// A copy that has no packet.
    void lose(lib::TapSlot slot, std::uint16_t account, std::uint32_t bytes, Outcome cause) {
        settle_loss({.slot = slot, .bytes = bytes, .account = account, .outcome = cause});
    }
    /// Seals and sends what is in it, and settles it in the counters.
    void flush();

  private:
    struct Copy {
        lib::TapSlot slot{};
        std::uint32_t bytes = 0;  ///< of the original
        std::uint16_t account = lib::other_account;
        Outcome outcome = Outcome::copies_sent;
    };
    /// An Ethernet header, with what makes it a register wide in front.
    using Ethernet = std::array<std::uint8_t, 16>;
    static constexpr std::size_t ethernet_pad = sizeof(Ethernet) - RTE_ETHER_HDR_LEN;

    /// The header of an IP version, and the next hop that stands in it.
    struct Header {
        Ethernet ethernet{};
        NextHop hop;

        void set_hop(NextHop to) {
            if (hop != to) [[unlikely]] {
                hop = to;
                std::memcpy(ethernet.data() + ethernet_pad, to.mac().data(), RTE_ETHER_ADDR_LEN);
            }
        }
    };
    static constexpr std::size_t place_of(lib::Family family) { return family == lib::Family::ipv6 ? 1 : 0; }

    /// Makes a frame of the packet.
    void finish(rte_mbuf& buffer, std::uint8_t* start, std::uint32_t length, const Ethernet& ethernet) {
        std::memcpy(start - sizeof ethernet, ethernet.data(), sizeof ethernet);
        const std::uint32_t size = length + RTE_ETHER_HDR_LEN;
        buffer.data_off = static_cast<std::uint16_t>(
            start - static_cast<const std::uint8_t*>(buffer.buf_addr) - RTE_ETHER_HDR_LEN);
        buffer.data_len = static_cast<std::uint16_t>(size);
        buffer.pkt_len = size;
        bytes_ += size;
    }
    void add(rte_mbuf& buffer) {
        owners_[packet_count_] = static_cast<std::uint8_t>(copy_count_ - 1);
        packets_[packet_count_++] = &buffer;
    }
    void fail(std::size_t packet, Outcome cause) {
        copies_[owners_[packet]].outcome = cause;
        failed_ = true;
    }
    void seal();
    void seal_for(const ActiveSa& sa, std::span<crypto::SealJob> jobs, std::span<const std::uint8_t> packets);
    std::size_t drop_failed();
    void send();
    void settle();
    void settle_loss(const Copy& copy);

    Parts parts_;
    crypto::Sealer sealer_;
    std::array<Header, 2> clear_{};   ///< of what leaves in clear: IPv4, IPv6
    std::array<Header, 2> sealed_{};  ///< of what the last tunnel has sealed, likewise
    std::uint64_t bytes_ = 0;         ///< of the frames that are ready
    bool failed_ = false;             ///< some copy of the burst is lost
    Numbering numbering_;
    std::size_t packet_count_ = 0;
    std::size_t copy_count_ = 0;
    std::size_t job_count_ = 0;
    std::array<rte_mbuf*, capacity> packets_;
    std::array<std::uint8_t, capacity> owners_;  ///< a packet's copy
    std::array<Copy, capacity> copies_;
    std::array<const ActiveSa*, capacity> sas_;       ///< a job's
    std::array<std::uint8_t, capacity> job_packets_;  ///< a job's
    std::array<crypto::SealJob, capacity> jobs_;
    std::array<crypto::SealJob, capacity> scratch_;
};

}  // namespace flowtap::dataplane
