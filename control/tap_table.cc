#include "control/tap_table.h"

#include <algorithm>
#include <utility>

namespace flowtap::control {

TapTable::TapTable(std::uint32_t max_taps, std::size_t sources) : by_slot_(max_taps), by_source_(sources) {}

Tap& TapTable::insert(Tap tap) {
    auto& place = by_slot_[static_cast<std::size_t>(tap.slot)];
    place = std::make_unique<Tap>(std::move(tap));
    auto& mine = by_source_[static_cast<std::size_t>(place->source)];
    const auto id = static_cast<std::uint64_t>(place->id);
    mine.taps.emplace(id, place.get());
    for (const auto& cdest : place->plan.text->cdests) {
        mine.by_cdest[cdest].insert(id);
    }
    ++size_;
    return *place;
}

void TapTable::erase(Tap& tap) {
    auto& mine = by_source_[static_cast<std::size_t>(tap.source)];
    const auto id = static_cast<std::uint64_t>(tap.id);
    for (const auto& cdest : tap.plan.text->cdests) {
        const auto found = mine.by_cdest.find(cdest);
        found->second.erase(id);
        if (found->second.empty()) {
            mine.by_cdest.erase(found);
        }
    }
    mine.taps.erase(id);
    by_slot_[static_cast<std::size_t>(tap.slot)].reset();
    --size_;
}

Tap* TapTable::find(SourceIndex source, std::uint64_t id) const {
    const auto& taps = of(source);
    const auto found = taps.find(id);
    return found == taps.end() ? nullptr : found->second;
}

std::vector<Tap*> TapTable::with_cdest(SourceIndex source, std::string_view cdest) const {
    std::vector<Tap*> taps;
    const auto& mine = by_source_[static_cast<std::size_t>(source)];
    if (const auto found = mine.by_cdest.find(cdest); found != mine.by_cdest.end()) {
        for (const auto id : found->second) {
            taps.push_back(mine.taps.at(id));
        }
    }
    return taps;
}

std::size_t TapTable::cdests_with(SourceIndex source, std::span<const std::string> cdests) const {
    const auto& mine = by_source_[static_cast<std::size_t>(source)].by_cdest;
    const auto is_new = [&](const std::string& cdest) { return !mine.contains(cdest); };
    return mine.size() + static_cast<std::size_t>(std::ranges::count_if(cdests, is_new));
}

}  // namespace flowtap::control
