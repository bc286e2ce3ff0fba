// What control has installed, and how a batch of changes becomes what every worker sees.
//
// A batch is staged a few changes at a time (a resync may name a million taps, and the manager has other
// duties), then published at once, then waited for: it is done when every worker has passed a quiescent state
// since. One batch at a time.
//
// Thread safety: the manager's.
// Invariants: 1. a refused batch has changed nothing; 2. own flows are known before the first copy that makes
// one, and until the last; 3. an SA stays in use until every worker has the taps of the batch that removes
// it; 4. a slot's counters start from zero with its tap, and nobody counts on it for an earlier one; 5. a tap
// that gets its first limit is counted by all workers together before the first burst that obeys the limit:
// phase `counting`, which changes nothing that anybody could see; 6. a tap that stops frames is counted as
// such (stop_switch.h) from before the commit that brings it until no worker can have it any more.
#pragma once

#include "dataplane/drop_policies.h"
#include "dataplane/match/quiescence.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/over_board.h"
#include "dataplane/own_flows.h"
#include "dataplane/sa_table.h"
#include "dataplane/slow_path/inbound_table.h"
#include "dataplane/stop_switch.h"
#include "dataplane/tap_copies.h"
#include "lib/command_reader.h"
#include "lib/config.h"
#include "lib/region.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace flowtap::dataplane {

class Tasking {
  public:
    struct Parts {
        const lib::Config& config;
        match::Quiescence& quiescence;
        match::TapTable& taps;
        OwnFlows& own_flows;
        SaTable& sas;
        lib::StatusRegion& status;
        const DropPolicies& policies;
        OverBoard& over;
        StopSwitch& stops;
        slow_path::InboundTable* inbound = nullptr;  ///< null: nothing is opened
    };
    struct Outcome {
        lib::Refusal refusal = lib::Refusal::none;  ///< none: every worker has the whole change
        std::uint32_t slot = 0;                     ///< of what was refused
    };

    struct OverTap {
        lib::TapSlot slot{};
        lib::TapId id{};

        bool operator==(const OverTap&) const = default;
    };

    explicit Tasking(const Parts& parts);

    /// Only while !busy(). The batch carries no refusal of its own.
    void begin(lib::Batch batch);
    /// A bounded step of work; returns the outcome once, when the batch is done. Never waits.
    std::optional<Outcome> advance();
    bool busy() const { return phase_ != Phase::idle; }

    /// Taps that a limit has stopped since the last call, and those that a batch left so: of a resync all, of
    /// any other batch those that it names. None of a batch that is not done.
    std::vector<OverTap> take_over();

    /// Frees what no worker can see any more, a bounded step at a time.
    void reclaim();

  private:
    enum class Phase : std::uint8_t { idle, staging, sweeping, counting, publishing, settling };
    struct Place {
        std::unique_ptr<TapCopies> live;
        std::unique_ptr<TapCopies> staged;
        std::uint32_t deferred = 0;  ///< change, from 1, that takes the slot in the second commit
        bool leaving = false;
    };

    lib::Refusal stage(lib::Change& change);
    lib::Refusal stage_tap(const lib::TapAdd& tap);
    lib::Refusal stage_sa(const lib::SaInstall& install);
    lib::Refusal stage_removal(const lib::SaRemove& removal);
    lib::Refusal stage_update(const lib::TapUpdated& update);
    void stage_terms(std::size_t slot, const lib::TapService& service);
    lib::Refusal unstage(const lib::TapRemove& tap);
    Outcome refuse(lib::Refusal refusal, std::uint32_t slot);
    std::optional<Outcome> stage_some();
    std::optional<Outcome> sweep_some();
    void prepare();
    std::optional<Outcome> count();
    std::optional<Outcome> publish();
    void publish_terms();
    void replace_terms(TapCopies& copies, std::unique_ptr<const TapTerms> terms);
    void contribute(std::size_t slot);
    std::optional<Outcome> settle();
    bool add_flows();
    void remove_flows(const TapCopies& copies);
    void clear_counters(std::size_t slot);

    Parts parts_;
    std::vector<Place> places_;         ///< by TapSlot
    const std::uint64_t first_number_;  ///< of the copies to a destination

    Phase phase_ = Phase::idle;
    lib::Batch batch_;
    std::size_t next_ = 0;  ///< change, or slot, to look at
    bool resync_ = false;
    std::vector<bool> named_;  ///< by TapSlot: stays, or comes, with this resync
    /// Staged, by slot.
    std::vector<std::size_t> added_;
    std::vector<std::size_t> removed_;
    std::vector<std::size_t> updated_;
    std::vector<std::size_t> counting_;  ///< of those: with their first limit
    std::vector<std::size_t> new_sas_;
    /// Of a resync: taps for slots that another tap leaves; a second commit adds them, when its counters are
    /// still.
    std::vector<std::size_t> deferred_;
    std::vector<std::unique_ptr<TapCopies>> leaving_;
    std::vector<std::unique_ptr<const TapTerms>> leaving_terms_;
    std::vector<std::size_t> touched_;     ///< by the batch: may be over when it is done
    std::vector<std::size_t> candidates_;  ///< to be looked at by take_over()
    std::set<std::size_t> over_;           ///< told
    bool whole_ = false;                   ///< the batch is, or began as, a resync
    match::Period period_{};
    bool sa_removals_ = false;
};

}  // namespace flowtap::dataplane
