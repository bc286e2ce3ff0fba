// Turns changes into command records, in the order in which they are to be pushed to the command ring.
//
// A change may be longer than the ring: fill a batch, drain() it as the ring has room, clear and go on; the
// dataplane applies nothing before the commit. The memory of a batch is wiped when it is given back: keys
// pass through it. Thread safety: as of a plain value.
#pragma once

#include "lib/cleansing_allocator.h"
#include "lib/criterion.h"
#include "lib/records.h"
#include "lib/region.h"

#include <cstddef>
#include <expected>
#include <span>
#include <string>
#include <vector>

namespace flowtap::lib {

class CommandBatch {
  public:
    /// What follows, up to the commit, is the whole state.
    void resync_begin();

    /// The headers of the destinations are filled in here. Refuses, adding nothing, what the dataplane would
    /// refuse (lib/command_rules.h): an id of 0, no destination or too many, too many terms, values out of
    /// range.
    std::expected<void, std::string> add_tap(TapSlot slot, TapId id, const Criterion& criterion,
                                             std::span<const TapDestination> destinations,
                                             const TapService& service = {},
                                             TapAction action = TapAction::copy);
    /// For a tap that is there, or is added in this batch.
    void update_tap(TapSlot slot, TapId id, const TapService& service);
    void remove_tap(TapSlot slot, TapId id);

    /// The record's header is filled in here, its key is the caller's to wipe. key_id names the key for ever
    /// and is never 0.
    void install_sa(SaSlot slot, std::uint64_t key_id, const SaInstall& install);
    void extend_lease(SaSlot slot, std::uint64_t key_id, Lease lease);
    void remove_sa(SaSlot slot, std::uint64_t key_id);

    void commit(Token token);

    /// All records added since clear().
    std::span<const CommandRecord> records() const { return records_; }
    bool drained() const { return pushed_ == records_.size(); }

    /// Pushes what the ring has room for; true when all records have been pushed. Wake the dataplane after
    /// it.
    std::expected<bool, RingError> drain(CommandProducer& ring);

    /// Forgets and wipes all records, pushed or not.
    void clear();

  private:
    template <CommandBody Body>
    void append(const Body& body);

    std::vector<CommandRecord, CleansingAllocator<CommandRecord>> records_;
    std::size_t pushed_ = 0;
};

}  // namespace flowtap::lib
