// The security associations that seal copies: at most one in use for each tunnel, the one that was installed
// last.
//
// Thread safety: one writer (the manager); any number of readers (the workers) take view() once a burst and
// use it until their next quiescent state. Key material lives until every reader has passed one after the
// removal. Invariant: an SA that stays keeps its counter; none ever starts over.
#pragma once

#include "crypto/engine.h"
#include "crypto/outbound_sa.h"
#include "dataplane/match/quiescence.h"
#include "lib/config.h"
#include "lib/records.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace flowtap::dataplane {

/// What a worker needs of a tunnel's SA.
struct ActiveSa {
    crypto::OutboundSa* sa = nullptr;  ///< null: the tunnel has none
    lib::SaSlot slot{};
    std::uint16_t tunnel = 0;  ///< index in the configuration
    std::uint32_t largest_inner =
        0;  ///< bytes of the longest packet that, sealed, fits the delivery port's MTU
};

/// By tunnel. Never changes once it is published.
using SaView = std::vector<ActiveSa>;

class SaTable {
  public:
    /// The tunnels' addresses are the outer headers'; `mtu` is the delivery port's. Quiescence and tunnels
    /// outlive the table; the engine expands keys.
    SaTable(match::Quiescence& quiescence, crypto::Engine engine, std::span<const lib::TunnelConfig> tunnels,
            std::uint32_t mtu);

    // Writer: stage, then publish or roll back.

    /// An SA that is in the slot with the same id stays, with its counter; its lease grows to the record's.
    /// Another one in the slot is `slot_in_use`, unless its removal is staged.
    lib::Refusal stage_install(const lib::SaInstall& record);
    lib::Refusal stage_lease(const lib::SaLease& record);
    lib::Refusal stage_remove(lib::SaSlot slot, std::uint64_t id);
    /// The batch names the whole state: it may take any slot, and what it does not name goes.
    void stage_resync() { resync_ = true; }
    void rollback();
    /// Shows the workers what the batch adds; what it removes stays in use until publish_removals(). True if
    /// there are removals.
    bool publish_additions();
    void publish_removals();
    /// Frees what no reader can see any more. Never waits.
    void reclaim();

    // Reporting (writer)

    struct Report {
        std::uint64_t next = 0;  ///< counter value
        std::uint64_t lease_end = 0;
        bool low = false;  ///< less than half of the last granted block is left; said once a block
    };
    std::optional<Report> report(lib::SaSlot slot);
    std::uint32_t count() const;
    bool occupied(std::size_t slot) const { return entries_[slot].sa != nullptr; }

    // Readers

    const SaView& view() const { return *view_.load(std::memory_order_acquire); }

  private:
    struct Entry {
        std::shared_ptr<crypto::OutboundSa> sa;
        std::uint64_t id = 0;
        std::uint64_t order = 0;  ///< later ones seal
        std::uint16_t tunnel = 0;
        std::uint64_t last_block = 0;
        bool low_said = false;
    };
    /// What the batch does to a slot.
    struct Staged {
        std::optional<Entry> install;        ///< a new entry, in place of what is there
        std::vector<lib::Lease> extensions;  ///< of the entry that is there
        bool named = false;                  ///< installed or extended: stays in a resync
        bool remove = false;
    };
    struct Retired {
        std::shared_ptr<const void> object;
        match::Period period;
    };

    void remove_unnamed();
    lib::Refusal stage_extension(std::size_t slot, const lib::Lease& lease);
    lib::Refusal create(const lib::SaInstall& record, Entry& entry) const;
    std::uint64_t staged_end(std::size_t slot) const;
    void show();

    match::Quiescence& quiescence_;
    crypto::Engine engine_;
    std::span<const lib::TunnelConfig> tunnels_;
    std::uint32_t mtu_;
    std::array<Entry, lib::max_sas> entries_;
    std::array<Entry, lib::max_sas> leaving_;  ///< between the two publishings
    std::array<Staged, lib::max_sas> staged_;
    bool resync_ = false;
    std::uint64_t order_ = 0;
    std::shared_ptr<SaView> owner_;
    std::atomic<const SaView*> view_;
    std::vector<Retired> retired_;
};

}  // namespace flowtap::dataplane
