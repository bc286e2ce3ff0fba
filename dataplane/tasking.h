// What control has installed, and how a batch of changes becomes what every worker sees.
//
// A batch is staged a few changes at a time (a resync may name a million taps, and the manager has other
// duties), then published at once, then waited for: it is done when every worker has passed a quiescent state
// since. One batch at a time.
//
// Thread safety: the manager's.
// Invariants: 1. a refused batch has changed nothing; 2. own flows are known before the first copy that makes
// one, and until the last; 3. an SA stays in use until every worker has the taps of the batch that removes
// it; 4. a slot's counters start from zero with its tap, and nobody counts on it for an earlier one.
#pragma once

#include "dataplane/match/quiescence.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/own_flows.h"
#include "dataplane/sa_table.h"
#include "dataplane/tap_copies.h"
#include "lib/command_reader.h"
#include "lib/config.h"
#include "lib/region.h"

#include <cstdint>
#include <memory>
#include <optional>
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
    };
    struct Outcome {
        lib::Refusal refusal = lib::Refusal::none;  ///< none: every worker has the whole change
        std::uint32_t slot = 0;                     ///< of what was refused
    };

    explicit Tasking(const Parts& parts);

    /// Only while !busy(). The batch carries no refusal of its own.
    void begin(lib::Batch batch);
    /// A bounded step of work; returns the outcome once, when the batch is done. Never waits.
    std::optional<Outcome> advance();
    bool busy() const { return phase_ != Phase::idle; }

    /// Frees what no worker can see any more, a bounded step at a time.
    void reclaim();

  private:
    enum class Phase : std::uint8_t { idle, staging, sweeping, publishing, settling };

    lib::Refusal stage(lib::Change& change);
    lib::Refusal stage_tap(const lib::TapAdd& tap);
    lib::Refusal stage_sa(const lib::SaInstall& install);
    lib::Refusal unstage(const lib::TapRemove& tap);
    Outcome refuse(lib::Refusal refusal, std::uint32_t slot);
    std::optional<Outcome> stage_some();
    std::optional<Outcome> sweep_some();
    std::optional<Outcome> publish();
    std::optional<Outcome> settle();
    bool add_flows();
    void remove_flows(const TapCopies& copies);
    void clear_counters(std::size_t slot);

    Parts parts_;
    std::vector<std::unique_ptr<TapCopies>> installed_;  ///< by TapSlot

    Phase phase_ = Phase::idle;
    lib::Batch batch_;
    std::size_t next_ = 0;  ///< change, or slot, to look at
    bool resync_ = false;
    std::vector<bool> named_;  ///< by TapSlot: stays, or comes, with this resync
    /// Staged additions and removals, by slot.
    struct Placed {
        std::size_t slot = 0;
        std::unique_ptr<TapCopies> copies;
    };
    std::vector<Placed> added_;
    std::vector<std::size_t> removed_;
    std::vector<std::size_t> new_sas_;
    /// Of a resync: taps for slots that another tap leaves; a second commit adds them, when its counters are
    /// still.
    std::vector<std::size_t> deferred_;
    std::vector<std::unique_ptr<TapCopies>> leaving_;
    match::Period period_{};
    bool sa_removals_ = false;
};

}  // namespace flowtap::dataplane
