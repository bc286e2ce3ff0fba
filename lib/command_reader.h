// Turns the command records of a peer that is not believed into changes, or into a refusal.
//
// Feed it records that were copied out of the ring. It checks everything that can be checked without knowing
// what is installed: kinds, counts, fields, slots, ids, ranges, families, host bytes, ports, TTL, key sizes,
// leases. Whether a slot is in use is the caller's to judge. A bad record refuses the whole batch, up to its
// commit; the batch after that begins afresh. Memory is bounded by ReaderLimits, whatever is fed. Thread
// safety: as of a plain value.
#pragma once

#include "lib/cleansing_allocator.h"
#include "lib/criterion.h"
#include "lib/records.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

namespace flowtap::lib {

/// What follows is the whole state: taps and SAs that are not named again go. First in its batch, if at all.
struct ResyncBegin {};

struct TapAdd {
    TapSlot slot{};  ///< < max_taps
    TapId id{};      ///< not 0
    Criterion criterion;
    std::vector<TapDestination> destinations;  ///< 1..max_destinations
    TapService service;
    TapAction action = TapAction::copy;
};

struct TapUpdated {
    TapSlot slot{};
    TapId id{};
    TapService service;
};

struct TapRemove {
    TapSlot slot{};
    TapId id{};
};

struct SaRemove {
    SaSlot slot{};
    std::uint64_t key_id = 0;
};

/// SaInstall and SaLease are the records themselves: header.slot < max_sas, header.id not 0.
using Change = std::variant<ResyncBegin, TapAdd, TapUpdated, TapRemove, SaInstall, SaLease, SaRemove>;

/// Wiped when it is given back: it may hold keys.
using Changes = std::vector<Change, CleansingAllocator<Change>>;

/// The end of a batch. With a refusal, changes is empty.
struct Batch {
    Token token{};
    Refusal refusal = Refusal::none;
    std::uint32_t slot = 0;  ///< of the first bad record, as it claims
    Changes changes;         ///< in the order of the records
};

struct ReaderLimits {
    std::uint32_t max_taps = 0;
    std::uint16_t tunnel_count = 0;
    /// Changes, and terms and destinations of all of them, that one batch may hold: more is
    /// Refusal::no_memory. Unset: what a resync of max_taps taps with 16 terms each needs.
    std::optional<std::size_t> max_changes;
    std::optional<std::size_t> max_parts;
};

/// The reader's own: a tap whose records are being collected.
struct OpenTap {
    TapAdd tap;
    std::size_t terms_left = 0;
    std::size_t destinations_left = 0;
    std::size_t interfaces_left = 0;
};

class CommandReader {
  public:
    explicit CommandReader(const ReaderLimits& limits);

    /// Takes one record, and wipes it if it is one that carries a key. Returns the batch when the record is
    /// its commit.
    std::optional<Batch> take(CommandRecord& record);

    /// Forgets a batch without its commit: for the start of a link.
    void restart();

  private:
    Refusal stage(const CommandRecord& record, const CommandHeader& header);
    Refusal begin_resync(const CommandHeader& header);
    Refusal begin_tap(const CommandRecord& record);
    Refusal add_addresses(const CommandRecord& record);
    Refusal add_either(const TapAddresses& addresses);
    Refusal add_numbers(const CommandRecord& record);
    Refusal add_destination(const CommandRecord& record);
    Refusal add_interfaces(const CommandRecord& record);
    Refusal close_tap_if_complete();
    Refusal update_tap(const CommandRecord& record);
    Refusal remove_tap(const CommandHeader& header);
    Refusal check_sa(const CommandHeader& header) const;
    Refusal install_sa(const CommandRecord& record);
    Refusal extend_lease(const CommandRecord& record);
    Refusal remove_sa(const CommandHeader& header);
    template <typename Kind>
    Refusal add_change(Kind&& change);
    void refuse(Refusal refusal, std::uint32_t slot);
    Batch end_batch(Token token);

    std::uint32_t max_taps_;
    std::uint16_t tunnel_count_;
    std::size_t max_changes_;
    std::size_t max_parts_;
    std::size_t parts_ = 0;
    std::optional<OpenTap> open_;
    Batch batch_;
};

}  // namespace flowtap::lib
