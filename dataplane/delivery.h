// The delivery stage of one worker: from frames and the taps that they match to packets on the delivery port.
//
// A tap's terms decide first (tap_copies.h): a match that a drop policy leaves out is counted as such and
// nowhere else, one that a limit cuts off is not counted at all. Of a tap that stops frames they decide
// before the frame is sent on (judge.h), and are not asked again.
//
// Every copy that is owed ends in one of two ways: it is sent, or it is lost under a cause that has a
// counter. The ledger closes for each tap: copies owed = copies-sent + copies-dropped; for the worker:
// matches = copies-sent + the sum of the copy-... counters. A copy that needs several packets is sent when
// all of them are (outbox.h). Where frames wait that would be lost meanwhile, copies are given up
// (backlog.h).
//
// A copy that is to be sealed is made while that is done, straight from the frame, so frames must stay
// until flush(). Thread safety: the worker's own; no lock, allocation, exception, log or system call of its
// own.
#pragma once

#include "crypto/sealer.h"
#include "dataplane/backlog.h"
#include "dataplane/copy_buffers.h"
#include "dataplane/drop_policies.h"
#include "dataplane/held_frames.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/next_hops.h"
#include "dataplane/outbox.h"
#include "dataplane/over_board.h"
#include "dataplane/port.h"
#include "dataplane/rate_limits.h"
#include "dataplane/sa_table.h"
#include "dataplane/tap_copies.h"
#include "dataplane/wall_clock.h"
#include "lib/status.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <cstdint>
#include <span>

namespace flowtap::dataplane {

class Delivery {
  public:
    struct Parts {
        const Port& port;
        std::uint16_t queue = 0;
        rte_mempool* pool = nullptr;  ///< of copy_data_room(mtu); nobody else takes from it
        const SaTable& sas;
        const NextHops& next_hops;
        std::uint32_t mtu = 0;  ///< largest IP packet on the delivery port
        lib::WorkerStatus& status;
        std::span<lib::TapCounters> taps;   ///< by TapSlot
        std::span<lib::CopyLosses> losses;  ///< likewise
        const DropPolicies& policies;
        OverBoard& over;
        const WallClock& clock;
        const RateLimits& rates;
        std::uint32_t far_ports = 0;  ///< bit: a port that is side b of its wire
        std::uint16_t worker = 0;     ///< index, and of how many: IPv4 IDs of two workers never meet
        std::uint16_t workers = 1;
    };

    Delivery(const Parts& parts, crypto::Sealer sealer);

    /// Before the first frame of a burst that came in at `port` and was classified with `generation`;
    /// `arrival`: cycles of the poll that received it, or that knows now what an early fragment belongs to.
    /// `backlog`: of the queue that it came from; looked at while its copies are made.
    void begin(std::uint16_t port, match::Generation generation, std::uint64_t arrival,
               const Backlog& backlog) {
        view_ = &parts_.sas.view();
        outbox_.begin();
        port_lost_ = parts_.port.lost();
        port_ = port;
        generation_ = generation;
        backlog_ = &backlog;
        overloaded_ = overloaded_ && backlog.behind();
        arrival_ = arrival;
    }
    /// Before the frame is sent on: whether the tap, one that stops frames, takes it; if so, counts it. Asked
    /// once, after begin(); the match is marked as decided then.
    bool holds_back(const match::Match& match, const match::LazyHeaders& headers, std::size_t place);
    /// Asks memory for what copy() will read.
    void expect(const match::FrameMatches& matches) const {
        rte_prefetch0(&copies_of(matches.taps[0].payload));
        rte_prefetch0(&parts_.taps[static_cast<std::size_t>(matches.taps[0].slot)]);
    }
    /// Owes every copy of the frame, whose headers are those at its place. Returns the bytes of what is
    /// copied, its IP packet or all of it; 0 if nothing is. The frame is the caller's and must stay unchanged
    /// until flush().
    std::uint32_t copy(const HeldFrame& frame, const match::LazyHeaders& headers,
                       const match::FrameMatches& matches);
    /// Seals and sends what is owed, and settles it in the counters.
    void flush();

  private:
    using Outcome = Outbox::Outcome;

    /// The original packet inside a frame.
    struct Original {
        const HeldFrame& frame;
        std::uint32_t offset = 0;
        std::uint32_t length = 0;
    };
    enum class Decision : std::uint8_t { copy, copy_last, leave };

    bool takes(const match::Match& match, const TapCopies& copies, const match::LazyHeaders& headers,
               std::size_t place, std::uint32_t bytes);
    Decision decide(const TapTerms& terms, lib::TapSlot slot, const match::Headers& headers,
                    std::uint32_t bytes);
    Outcome owe(const Original& original, const CopyTarget& target, lib::TapSlot slot);
    Outcome owe_pieces(const Original& original, const CopyTarget& target, const ActiveSa* sa,
                       std::uint32_t largest, lib::TapSlot slot);
    Datagram next_datagram(const Original& original, const Encapsulation& encapsulation);
    bool may_pass(const CopyTarget& target, std::uint32_t bytes);
    std::uint8_t shim_flags(const TapCopies& copies, const match::Headers& headers) const;
    void complete_shim(const CopyTarget& target, std::uint8_t* udp);
    void count_owed();
    void add_packet(const Original& original, std::uint32_t from, std::uint32_t length,
                    const Encapsulation& encapsulation, std::uint32_t header, const ActiveSa* sa,
                    rte_mbuf& buffer);

    Parts parts_;
    RateAllowances allowances_;
    CopyBuffers buffers_;
    Outbox outbox_;
    const SaView* view_;
    match::Generation generation_ = 0;
    std::uint16_t port_ = 0;
    bool port_lost_ = false;
    const Backlog* backlog_ = nullptr;
    bool overloaded_ = false;      ///< copies are given up
    std::uint32_t unlooked_ = 0;   ///< copies since the last look at the backlog
    std::uint8_t shim_flags_ = 0;  ///< of the tap and frame that are being copied, if its shims have any
    std::uint64_t arrival_ = 0;
    std::uint32_t identification_;
    // Of the worker's counters, added to them by flush().
    std::uint64_t matches_ = 0;
    std::uint64_t counted_ = 0;                   ///< of these: they are in their destination's account
    std::uint16_t account_ = lib::other_account;  ///< of the others
    std::uint64_t overflow_ = 0;
};

/// Bytes, without RTE_PKTMBUF_HEADROOM, that a copy's buffer needs for IP packets of at most `mtu` bytes.
std::uint32_t copy_data_room(std::uint32_t mtu);

}  // namespace flowtap::dataplane
