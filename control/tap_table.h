// The taps as this process works with them: found by slot, by source and Criteria-ID, and by content
// destination.
//
// One source's taps are reached through its index only: no lookup crosses sources. Not thread-safe: one
// owner. Pointers to a tap stay good until erase().
#pragma once

#include "control/admission.h"
#include "control/registry_layout.h"
#include "control/sources.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::control {

enum class TapState : std::uint8_t {
    adding,    ///< in the registry, and not yet said to be live
    live,      ///< acknowledged
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

    /// When the tap is over, by CLOCK_BOOTTIME; UINT64_MAX: never.
    std::uint64_t deadline() const;
    bool total_over(std::uint64_t boot) const;
};

class TapTable {
  public:
    TapTable(std::uint32_t max_taps, std::size_t sources);

    /// The slot must be free. Nothing is known of the tap's timeouts here.
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
