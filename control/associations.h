// The ESP security associations of the tunnels: whose turn it is, their keys, counter leases and lifetimes,
// and what the dataplane holds of them.
//
// A state machine without I/O: it says for which key it needs a lease and what is to be recorded; the caller
// has it recorded (lease_store.h) and brings leases back; then it writes the commands.
//
// A tunnel's SAs are used in the configuration's order, one at a time, and after the last one those that have
// been replaced since. The next is installed, and live in every worker, before the one before it is removed:
// when that one has reached its soft lifetime, or can get no lease any more. At its hard lifetime an SA is
// removed, whether another one follows or not. One that is through is recorded as spent and never installed
// again. What opens has no turns: all of it is installed.
//
// What must never happen is that a counter value is used twice, so:
// - an SA is installed with a lease that was granted for just that;
// - one that a living dataplane has already (the registry says it was given it, the status region that it has
//   it) is named with a lease inside the one that it has, which leaves its counter alone. Before an SA is
//   left out of a resync, or removed, the registry is told; and a fresh install takes a slot that the status
//   region shows empty. So no SA that is gone is taken for one that is there.
//
// Keys stay in locked memory (lib/secret.h) and are copied into command records only. Not thread-safe: one
// owner.
#pragma once

#include "control/clock.h"
#include "control/configured_sas.h"
#include "control/lease_store.h"
#include "control/registry.h"
#include "control/sa_use.h"
#include "lib/command_writer.h"
#include "lib/config.h"
#include "lib/region.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowtap::control {

class Associations {
  public:
    explicit Associations(ConfiguredSas configured);

    struct Association : ConfiguredSa {
        std::optional<lib::SaSlot> slot;
        std::optional<lib::Lease> lease;  ///< granted and not yet in the dataplane
        std::uint64_t end = 0;            ///< of the last lease that was committed; 0: not in the dataplane
        bool kept = false;                ///< the dataplane has it: it is only named
        bool wanted = false;              ///< waits for a lease
        bool leaving = false;             ///< is about to be removed
        bool spent = false;               ///< must not be used any more, and is not installed again
        bool passed_over = false;         ///< could not be had when it was its turn; tried again by retry()
        bool refused = false;             ///< by the dataplane: not tried again on this link
        std::string trouble;              ///< why there is no lease; empty: no trouble

        lib::LifeSpan used;  ///< of its key, in all lives of both processes
        std::optional<std::int64_t>
            born;  ///< CLOCK_BOOTTIME, ns: its first use, maybe before the machine's start
        std::uint64_t bytes_before = 0;  ///< what was used when the dataplane's counter was `counted_from`
        std::uint64_t counted_from = 0;
        std::uint64_t recorded_seconds = 0;
        std::uint64_t recorded_bytes = 0;

        LifeVerdict verdict() const { return judge(sa.lifetimes, used); }
    };
    /// Tunnel by tunnel, in the order of their use.
    const std::vector<Association>& all() const { return all_; }

    /// What opens: it needs no lease, and is named in every resync.
    struct Inbound : ConfiguredSa {
        std::string trouble;  ///< why it is left out; empty: no trouble
    };
    const std::vector<Inbound>& inbound() const { return inbound_; }

    /// What is on record of the keys, in the order of all(). Before the first link.
    void begin(const std::vector<KeyUse>& uses, Now now);

    /// A key that needs a lease, by its place in all(), and up to where values were granted for certain.
    struct Need {
        std::size_t place = 0;
        KeyDigest key{};
        std::uint64_t witness = 0;
        SequenceSpace space{};
    };
    using Needs = std::vector<Need>;

    /// A link is up: decides which SAs the dataplane has. The needs are to be met before the first
    /// fill_resync().
    Needs begin_link(const lib::StatusView& status, Registry& registry, Now now);
    /// Of a need that was met, or could not be: then another SA may take its turn.
    Needs granted(std::size_t place, const std::expected<lib::Lease, std::string>& lease, lib::Epoch epoch,
                  const lib::StatusView& status, Registry& registry);
    bool waiting() const;
    void fill_resync(lib::CommandBatch& batch, Registry& registry);

    /// The dataplane says that the lease in the slot is half used up.
    std::optional<Need> lease_low(lib::SaSlot slot, const Registry& registry);
    /// What was refused a lease before: the cause may be gone.
    Needs retry(const lib::StatusView& status, const Registry& registry);
    /// Reads what has been used, and acts on lifetimes that are over. Ten times a second while the link is
    /// ready.
    Needs look(const lib::StatusView& status, const Registry& registry, Now now);
    /// What is to be recorded since the last call.
    std::vector<UseRecord> take_records() { return std::exchange(records_, {}); }
    /// Leases that have come since, SAs whose turn it is and those that leave. False: there are none.
    bool fill(lib::CommandBatch& batch, const lib::StatusView& status, Registry& registry);
    /// The commit after fill() or fill_resync() has been applied.
    void committed(const lib::StatusView& status, Now now);
    /// It has not: its leases are still unused, and are offered again. An SA that is refused for its own sake
    /// is left out until the next link.
    void refused(lib::Refusal refusal, lib::SaSlot slot);
    /// A commit with leases in it is on its way.
    bool in_flight() const { return !in_flight_.empty(); }

    /// The SA that seals the tunnel's packets; nullptr: there is none.
    const Association* sealing(std::uint16_t tunnel) const;
    /// Sentences about what needs an operator, each with the tunnel's name and no number that changes.
    /// `linked`: everything is in the dataplane, so that what is not there is missing.
    std::vector<std::string> alarms(const lib::Config& config, bool linked) const;
    /// Sentences about what has happened since the last call.
    std::vector<std::string> take_events(const lib::Config& config);

  private:
    /// What a commit on its way does.
    struct InFlight {
        std::size_t place = 0;
        std::uint64_t end = 0;  ///< of the lease that it brings; 0: it removes the SA
    };
    struct Event {
        std::size_t place = 0;
        std::optional<lib::LifeUnit> over;  ///< its hard lifetime; unset: it has taken over
    };

    Association* sealing_in(std::uint16_t tunnel);
    bool is_coming(std::uint16_t tunnel) const;
    std::optional<std::size_t> next_in_line(std::uint16_t tunnel) const;
    void call(std::uint16_t tunnel, const lib::StatusView& status, const Registry& registry, Needs& needs);
    static void measure(Association& association, const lib::StatusView& status, Now now);
    static void start_counting(Association& association, const lib::StatusView& status, Now now);
    void record_use(Association& association);
    void spend(Association& association);
    void retire(Association& association);
    void succeed(std::size_t place);
    void forget_troubles(std::uint16_t tunnel);

    static Need need_of(std::size_t place, const Association& association, const Registry& registry);
    static void install(lib::CommandBatch& batch, const Association& association, const lib::Lease& lease);
    static void install(lib::CommandBatch& batch, const Inbound& inbound, lib::SaSlot slot);

    std::vector<Association> all_;
    std::vector<Inbound> inbound_;  ///< its place is the slot
    std::uint16_t tunnels_ = 0;     ///< those that have SAs are below
    std::vector<InFlight> in_flight_;
    std::vector<UseRecord> records_;
    std::vector<Event> events_;
};

}  // namespace flowtap::control
