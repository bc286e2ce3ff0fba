// The ESP security associations of the tunnels: keys, counter leases, and what the dataplane holds of them.
//
// A state machine without I/O: it says for which key it needs a lease; the caller has the lease recorded
// (lease_store.h) and brings it back; then it writes the commands. One static SA a tunnel and direction.
//
// What must never happen is that a counter value is used twice, so:
// - an SA is installed with a lease that was granted for just that;
// - one that a living dataplane has already (the registry says it was given it, the status region that it has
// it) is
//   named with a lease inside the one that it has, which leaves its counter alone. Before an SA is left out
//   of a resync the registry is told; and a fresh install takes a slot that the status region shows empty. So
//   no SA that is gone is taken for one that is there.
//
// Keys stay in locked memory (lib/secret.h) and are copied into command records only. Not thread-safe: one
// owner.
#pragma once

#include "control/configured_sas.h"
#include "control/registry.h"
#include "lib/command_writer.h"
#include "lib/config.h"
#include "lib/region.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
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
        std::string trouble;              ///< why there is no lease; empty: no trouble
    };
    const std::vector<Association>& all() const { return all_; }

    /// What opens: it needs no lease, and is named in every resync.
    struct Inbound : ConfiguredSa {
        std::string trouble;  ///< why it is left out; empty: no trouble
    };
    const std::vector<Inbound>& inbound() const { return inbound_; }

    /// A key that needs a lease, by its place in all(), and up to where values were granted for certain.
    struct Need {
        std::size_t place = 0;
        KeyDigest key{};
        std::uint64_t witness = 0;
        SequenceSpace space{};
    };

    /// A link is up: decides which SAs the dataplane has. The needs are to be met before the first
    /// fill_resync().
    std::vector<Need> begin_link(const lib::StatusView& status, Registry& registry);
    /// Of a need that was met, or could not be.
    void granted(std::size_t place, const std::expected<lib::Lease, std::string>& lease, lib::Epoch epoch,
                 Registry& registry);
    bool waiting() const;
    void fill_resync(lib::CommandBatch& batch, Registry& registry);

    /// The dataplane says that the lease in the slot is half used up.
    std::optional<Need> lease_low(lib::SaSlot slot, const Registry& registry);
    /// What was refused a lease before: the cause may be gone.
    std::vector<Need> retry(const Registry& registry);
    /// Leases that have come since: extensions of what is installed. False: there are none.
    bool fill(lib::CommandBatch& batch, const lib::StatusView& status);
    /// The commit after fill() or fill_resync() has been applied.
    void committed();
    /// It has not: its leases are still unused, and are offered again. An SA that is refused for its own sake
    /// is left out until the next link.
    void refused(lib::Refusal refusal, lib::SaSlot slot);
    /// A commit with leases in it is on its way.
    bool in_flight() const { return !in_flight_.empty(); }

  private:
    static Need need_of(std::size_t place, const Association& association, const Registry& registry);
    static void install(lib::CommandBatch& batch, const Association& association, const lib::Lease& lease);
    static void install(lib::CommandBatch& batch, const Inbound& inbound, lib::SaSlot slot);

    std::vector<Association> all_;
    std::vector<Inbound> inbound_;  ///< its place is the slot
    std::vector<std::size_t> in_flight_;
};

}  // namespace flowtap::control
