// The delivery stage of one worker: from frames and the taps that they match to packets on the delivery port.
//
// A tap's terms decide first (tap_copies.h): a match that a drop policy leaves out is counted as such and
// nowhere else, one that a limit cuts off is not counted at all. Of a tap that stops frames they decide
// before the frame is sent on (judge.h), and are not asked again.
//
// Every copy that is owed ends in one of two ways: it is sent, or it is lost under a cause that has a
// counter. The ledger closes for each tap: copies owed = copies-sent + copies-dropped; for the worker:
// matches = copies-sent + the sum of the copy-... counters. A copy that needs several packets is sent when
// all of them are.
//
// The copy of a packet is made while it is sealed, straight from the frame's buffer, so frames must stay
// until flush(). Thread safety: the worker's own; no lock, allocation, exception, log or system call of its
// own.
#pragma once

#include "crypto/sealer.h"
#include "dataplane/drop_policies.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/next_hops.h"
#include "dataplane/over_board.h"
#include "dataplane/port.h"
#include "dataplane/sa_table.h"
#include "dataplane/tap_copies.h"
#include "lib/status.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <array>
#include <cstdint>
#include <span>

namespace flowtap::dataplane {

class Delivery {
  public:
    struct Parts {
        const Port& port;
        std::uint16_t queue = 0;
        rte_mempool* pool = nullptr;  ///< of copy_data_room(mtu)
        const SaTable& sas;
        const NextHops& next_hops;
        std::uint32_t mtu = 0;  ///< largest IP packet on the delivery port
        lib::WorkerStatus& status;
        std::span<lib::TapCounters> taps;
        const DropPolicies& policies;
        OverBoard& over;
        std::uint16_t worker = 0;  ///< index, and of how many: IPv4 IDs of two workers never meet
        std::uint16_t workers = 1;
    };

    Delivery(const Parts& parts, crypto::Sealer sealer);

    /// Before the first frame of a burst that came in at `port` and was classified with `generation`.
    void begin(std::uint16_t port, match::Generation generation) {
        view_ = &parts_.sas.view();
        port_ = port;
        generation_ = generation;
    }
    /// Before the frame is sent on: whether the tap, one that stops frames, takes it; if so, counts it. Asked
    /// once, after begin(); the match is marked as decided then.
    bool holds_back(const match::Match& match, const match::Headers& headers);
    /// Owes every copy of the frame; false if there is none. The frame is the caller's and must stay
    /// unchanged until flush().
    bool copy(const rte_mbuf& frame, const match::Headers& headers, const match::FrameMatches& matches);
    /// Seals and sends what is owed, and settles it in the counters.
    void flush();

  private:
    using Outcome = lib::WorkerCounter;          ///< copies_sent, or the cause of a loss
    static constexpr std::size_t capacity = 64;  ///< packets, and copies, that wait for a flush

    /// The original packet inside a frame.
    struct Original {
        const rte_mbuf& frame;
        std::uint32_t offset = 0;
        std::uint32_t length = 0;
    };
    /// One packet to send: `mbuf` and the job beside it say where and what.
    struct Packet {
        rte_mbuf* mbuf = nullptr;
        const ActiveSa* sa = nullptr;  ///< null: in clear
        NextHop next_hop;
        std::uint8_t copy = 0;         ///< index in outcomes_
        std::uint16_t ether_type = 0;  ///< big-endian
    };
    struct Copy {
        lib::TapSlot slot{};
        std::uint32_t bytes = 0;  ///< of the original
        Outcome outcome = Outcome::copies_sent;
    };

    enum class Decision : std::uint8_t { copy, copy_last, leave };

    bool takes(const match::Match& match, const TapCopies& copies, const match::Headers& headers,
               std::uint32_t bytes);
    Decision decide(const TapTerms& terms, lib::TapSlot slot, const match::Headers& headers,
                    std::uint32_t bytes);
    Outcome prepare(const Original& original, const CopyTarget& target, lib::TapSlot slot);
    void add_packet(const Original& original, const CopyTarget& target, const ActiveSa* sa,
                    NextHop next_hop, const Datagram& datagram, const Piece& piece, rte_mbuf* mbuf);
    void settle(const Copy& copy);
    void seal();
    void seal_for(const ActiveSa& sa, std::span<const std::uint8_t> packets);
    void send();

    Parts parts_;
    crypto::Sealer sealer_;
    const SaView* view_;
    match::Generation generation_ = 0;
    std::uint16_t port_ = 0;
    lib::MacAddress source_{};
    std::uint32_t identification_;
    std::size_t packet_count_ = 0;
    std::size_t copy_count_ = 0;
    std::array<Packet, capacity> packets_;
    std::array<crypto::SealJob, capacity> jobs_;
    std::array<crypto::SealJob, capacity> scratch_;
    std::array<Copy, capacity> copies_;
};

/// Bytes, without RTE_PKTMBUF_HEADROOM, that a copy's buffer needs for IP packets of at most `mtu` bytes.
std::uint32_t copy_data_room(std::uint32_t mtu);

}  // namespace flowtap::dataplane
