// The taps from request to dataplane and back: registry, table, changes on their way, timeouts, statistics.
// Requests and commits are in tasking.cc, time and counters in tasking_time.cc.
//
// A pure state machine: requests, completions, the clock and the counters come in; command records and
// outcomes come out. Order of an addition: registry, ring, completion, outcome. Of a removal, and of
// new terms: ring, completion, registry, outcome. So an operation that was not answered is wholly there or
// not at all, whoever dies.
//
// Operations wait while the dataplane is away, for `patience`; then they fail and leave nothing behind. Many
// share one commit: while one is on its way, the next ones gather. A commit that is refused is taken apart,
// so that an operation fails for its own fault only.
//
// Not thread-safe: one owner.
#pragma once

#include "control/clock.h"
#include "control/deadlines.h"
#include "control/meter.h"
#include "control/registry.h"
#include "control/slot_pool.h"
#include "control/tap_event.h"
#include "control/tap_table.h"
#include "control/terms.h"
#include "lib/command_writer.h"
#include "lib/dtcp/code.h"
#include "lib/region.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::control {

enum class OperationId : std::uint64_t {};

/// How an operation ended: ok, internal_error or too_many_criteria.
struct Outcome {
    OperationId operation{};
    lib::dtcp::Code code = lib::dtcp::Code::ok;
    std::uint64_t value = 0;  ///< the new tap's ID, or how many taps were removed or given new terms
};

/// A tap that adopt() found good.
struct RestoredTap {
    RegistryEntry entry;
    SourceIndex source{};
    TapPlan plan;
};

struct NewTap {
    lib::TapId id{};
    SourceIndex source{};
    TapPlan plan;
    std::string message;  ///< the ADD as received
    lib::IpAddress csource_address;
};

struct NewTerms {
    Tap* tap = nullptr;
    TapTerms terms;
};

class Tasking {
  public:
    /// How long an operation waits for a dataplane that is away.
    static constexpr std::uint64_t patience = 5 * nanoseconds_per_second;

    Tasking(std::uint32_t max_taps, std::size_t sources);

    /// Begins with a registry and what is in it. Before this, operations wait.
    void start(Registry registry, std::vector<RestoredTap> taps);
    bool started() const { return registry_.has_value(); }
    Registry& registry() { return *registry_; }

    TapTable& taps() { return taps_; }
    const TapTable& taps() const { return taps_; }

    // Requests

    /// Written to the registry before this returns. Errors: too_many_criteria (no slot or no memory is left),
    /// internal_error (no registry yet).
    std::expected<OperationId, lib::dtcp::Code> add(NewTap tap, Now now);
    /// All of them or none; each is live and belongs to one source.
    OperationId remove(std::span<Tap* const> taps, Now now);
    /// All of them or none; each is live and belongs to one source. What does not concern the dataplane is in
    /// force at once.
    OperationId update(std::span<const NewTerms> changes, Now now);
    std::vector<Outcome> take_outcomes();
    /// Taps that are gone since, in order.
    std::vector<TapEvent> take_events();

    // Dataplane

    /// A link is there, and these are its counters; a resync comes next. They stay good until link_down().
    void link_up(const lib::StatusView& status, Now now);
    /// The link is gone; its counters are read for the last time.
    void link_down(Now now);
    bool linked() const { return status_ != nullptr; }
    /// The dataplane holds something else than we believe: only a resync helps.
    bool resync_wanted() const { return resync_wanted_; }
    void want_resync() { resync_wanted_ = true; }

    /// Adds the changes that wait, up to about as many records, to the batch; false: there are none, or some
    /// are on their way.
    bool fill(lib::CommandBatch& batch, std::size_t records);
    /// The whole state, in pieces: begin_resync() once, then fill_resync() until it says that all is added.
    void begin_resync();
    bool fill_resync(lib::CommandBatch& batch, std::size_t records);
    /// The commit of the last fill() or of the resync.
    void committed();
    void refused(lib::Refusal refusal, std::uint32_t slot);
    /// The dataplane says that a limit has stopped the tap.
    void tap_over(lib::TapSlot slot, lib::TapId id, Now now);

    // Time and counters

    /// Timeouts and patience; reads the counters of some taps. Every 100 ms: each tap is read once a second.
    void tick(Now now);
    /// A slice of tick(), a fraction of a millisecond; true: there is more to do, call again soon.
    bool tick_some(Now now);
    /// What the tap has counted in all its life.
    TapTotals totals(const Tap& tap) const;
    std::uint64_t bandwidth(const Tap& tap, const TapTotals& totals, Now now) const;
    /// Taps that have matched anything within the last window of bandwidth(), and perhaps some that are gone.
    std::vector<lib::TapSlot> carrying() const { return meters_.slots(); }
    std::uint64_t timed_out() const { return timed_out_; }

  private:
    enum class Kind : std::uint8_t { add, update, remove, expire };
    struct Pending {
        Kind kind = Kind::add;
        std::vector<lib::TapSlot> slots;
        std::uint64_t accepted = 0;
        bool alone = false;  ///< was in a commit that was refused
    };

    OperationId begin(Kind kind, std::vector<lib::TapSlot> slots, Now now);
    bool write(lib::CommandBatch& batch, const Pending& operation);
    std::expected<void, std::string> write_tap(lib::CommandBatch& batch, const Tap& tap) const;
    lib::TapService service(const Tap& tap, const TapTerms& terms) const;
    void finish(OperationId id);
    void finish_update(const Pending& operation);
    void make_live(Tap& tap);
    void end(Tap& tap, TapEnd reason, Now now);
    TapEnd limit_of(const Tap& tap) const;
    void fail(OperationId id, lib::dtcp::Code code);
    void forget(lib::TapSlot slot);
    void expire(Now now);
    void lose_patience(Now now);
    void sweep(Now now, std::uint32_t count);
    void read(Tap& tap, Now now);
    TapTotals live(const Tap& tap) const;
    TapTotals before(const Tap& tap) const;

    std::optional<Registry> registry_;
    TapTable taps_;
    SlotPool slots_;
    Deadlines deadlines_;
    Meters meters_;
    const lib::StatusView* status_ = nullptr;

    std::map<OperationId, Pending> operations_;
    std::deque<OperationId> queued_;
    std::vector<OperationId> in_flight_;
    std::vector<lib::TapSlot> resync_;  ///< taps of the resync that is being written
    std::size_t resync_next_ = 0;
    bool resyncing_ = false;
    bool resync_wanted_ = false;
    std::vector<Outcome> outcomes_;
    std::vector<TapEvent> events_;
    std::uint64_t next_operation_ = 1;
    std::uint32_t sweep_next_ = 0;
    std::uint32_t sweep_left_ = 0;  ///< slots that tick_some() has still to look at in this tick
    std::uint64_t swept_ = 0;       ///< when the last sweep step was
    std::uint64_t timed_out_ = 0;
};

}  // namespace flowtap::control
