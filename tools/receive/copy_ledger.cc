#include "tools/receive/copy_ledger.h"

#include <algorithm>

namespace flowtap::tools::receive {
namespace {

std::uint32_t block_of(std::uint64_t sequence) {
    return static_cast<std::uint32_t>(sequence >> 32);
}

}  // namespace

void CopyLedger::add(std::uint64_t sequence, std::uint32_t dropped) {
    numbers_.add(sequence);
    const auto [entry, is_new] =
        said_.try_emplace(block_of(sequence), Said{sequence, sequence, dropped, dropped});
    Said& said = entry->second;
    if (!is_new && sequence < said.lowest) {
        said.lowest = sequence;
        said.dropped_at_lowest = dropped;
    }
    if (!is_new && sequence > said.highest) {
        said.highest = sequence;
        said.dropped_at_highest = dropped;
    }
}

CopyLedger::Totals CopyLedger::totals() const {
    Totals totals;
    std::map<std::uint32_t, std::uint64_t> in_gaps;
    for (const Range& gap : numbers_.gaps()) {
        in_gaps[block_of(gap.first)] += gap.size();
    }
    for (const auto& [block, said] : said_) {
        const std::uint64_t expected = said.highest - said.lowest + 1;
        const std::uint64_t gaps = in_gaps[block];
        // Losses of numbers before the first that came may be told of only after it.
        const std::uint64_t told =
            static_cast<std::uint32_t>(said.dropped_at_highest - said.dropped_at_lowest);
        const std::uint64_t reported = std::min(told, gaps);
        totals.expected += expected;
        totals.received += expected - gaps;
        totals.reported += reported;
        totals.missing += gaps - reported;
        totals.sender_dropped += said.dropped_at_highest;
    }
    if (!said_.empty()) {
        totals.before_first = static_cast<std::uint32_t>(said_.begin()->second.lowest);
    }
    totals.duplicates = numbers_.duplicates();
    return totals;
}

}  // namespace flowtap::tools::receive
