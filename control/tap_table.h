// The taps as this process works with them: found by slot, by source and Criteria-ID, and by content
// destination.
//
// One source's taps are reached through its index only: no lookup crosses sources. Not thread-safe: one
// owner. Pointers to a tap stay good until erase().
#pragma once

#include "control/admission.h"
#include "control/registry_layout.h"
#include "control/sources.h"
#include "control/tap_event.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::control {

enum class TapState : std::uint8_t {
    adding,    ///< in the registry, and not yet said to be live
    live,      ///< acknowledged
    updating,  ///< new terms are on the way; those that it had are acknowledged until they are in force
    deleting,  ///< its removal is on the way; acknowledged until it is done
    over,      ///< a timeout has passed: nobody is told of it any more, its removal is on the way
};

struct Tap {
    lib::TapId id{};
    lib::TapSlot slot{};
    SourceIndex source{};
    TapState state = TapState::adding;
    TapPlan plan;
    std::int64_t added_utc = 0;    ///< ns since 1970
    std::uint64_t added_boot = 0;  ///< CLOCK_BOOTTIME, ns
    lib::IpAddress csource_address;
    TapStatistics statistics;
    TapTerms terms;
    std::optional<TapTerms> next_terms;  ///< while updating
    bool in_resync = false;              ///< a resync that is being written has next_terms
    bool told_over = false;              ///< a limit has stopped it, while it was not live for us
    std::optional<TapEvent> end{};       ///< while over: what will be told when it is gone

    /// Acknowledged, and not over.
    bool exists() const {
        return state == TapState::live || state == TapState::updating || state == TapState::deleting;
    }
    /// A change of it is on the way.
    bool busy() const { return state == TapState::updating || state == TapState::deleting; }
};

class TapTable {
  public:
    TapTable(std::uint32_t max_taps, std::size_t sources);

    /// The slot must be free.
    Tap& insert(Tap tap);
    void erase(Tap& tap);

    Tap* at(lib::TapSlot slot) { return by_slot_[static_cast<std::size_t>(slot)].get(); }
    std::uint32_t slots() const { return static_cast<std::uint32_t>(by_slot_.size()); }

    using ById = std::map<std::uint64_t, Tap*>;
    /// All of the source's, in the order of their IDs.
    const ById& of(SourceIndex source) const { return by_source_[static_cast<std::size_t>(source)].taps; }
    Tap* find(SourceIndex source, std::uint64_t id) const;
    /// Those of the source's that deliver to the content destination.
    std::vector<Tap*> with_cdest(SourceIndex source, std::string_view cdest) const;

    /// Different Cdest-IDs of the source's taps, were there one more with these.
    std::size_t cdests_with(SourceIndex source, std::span<const std::string> cdests) const;

    std::size_t size() const { return size_; }

  private:
    struct OfSource {
        ById taps;
        std::map<std::string, std::set<std::uint64_t>, std::less<>> by_cdest;
    };

    std::vector<std::unique_ptr<Tap>> by_slot_;
    std::vector<OfSource> by_source_;
    std::size_t size_ = 0;
};

}  // namespace flowtap::control
