// The security associations that open what comes out of the tunnels.
//
// Thread safety: one writer (the manager); one reader (the slow path's thread, which moves the replay
// windows) takes view() once a turn and uses it until its next quiescent state. Key material lives until it
// has passed one after the removal. Invariant: an SA that stays keeps its replay window.
#pragma once

#include "crypto/engine.h"
#include "crypto/inbound_sa.h"
#include "dataplane/match/quiescence.h"
#include "lib/records.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace flowtap::dataplane::slow_path {

struct OpeningSa {
    crypto::InboundSa* sa = nullptr;
    std::uint16_t tunnel = 0;  ///< index in the configuration
    bool in_udp = false;       ///< its packets come in UDP (RFC 3948), and no other
};

/// Never changes once it is published.
using InboundView = std::vector<OpeningSa>;

class InboundTable {
  public:
    /// The quiescence outlives it; the engine expands keys.
    InboundTable(match::Quiescence& quiescence, crypto::Engine engine);

    // Writer: stage, then publish or roll back.

    /// An SA that is in the slot with the same id stays. Another one in the slot is `slot_in_use`, unless its
    /// removal is staged.
    lib::Refusal stage_install(const lib::SaInstall& record);
    lib::Refusal stage_remove(lib::SaSlot slot, std::uint64_t id);
    /// The batch names the whole state: it may take any slot, and what it does not name goes.
    void stage_resync() { resync_ = true; }
    void rollback();
    void publish();
    /// Frees what the reader cannot see any more. Never waits.
    void reclaim();

    // Reader

    const InboundView& view() const { return *view_.load(std::memory_order_acquire); }

  private:
    struct Entry {
        std::shared_ptr<crypto::InboundSa> sa;
        std::uint64_t id = 0;
        std::uint16_t tunnel = 0;
        bool in_udp = false;
    };
    struct Staged {
        std::optional<Entry> install;
        bool named = false;  ///< comes, or stays in a resync
        bool remove = false;
    };
    struct Retired {
        std::shared_ptr<const void> object;
        match::Period period;
    };

    match::Quiescence& quiescence_;
    crypto::Engine engine_;
    std::array<Entry, lib::max_sas> entries_;
    std::array<Staged, lib::max_sas> staged_;
    bool resync_ = false;
    std::shared_ptr<InboundView> owner_ = std::make_shared<InboundView>();
    std::atomic<const InboundView*> view_{owner_.get()};
    std::vector<Retired> retired_;
};

}  // namespace flowtap::dataplane::slow_path
