#include "tools/receive/gap_tracker.h"

#include <iterator>

namespace flowtap::tools::receive {

std::uint64_t counter_of(std::uint64_t sequence, std::uint64_t iv) {
    return static_cast<std::uint32_t>(iv) == sequence ? iv : sequence;
}

/// first <= last.
void GapTracker::open_gap(Block& block, std::uint64_t first, std::uint64_t last) {
    block.gaps.emplace(first, last);
    missing_ += last - first + 1;
}

void GapTracker::add(std::uint64_t counter) {
    const auto [entry, is_new] =
        blocks_.try_emplace(static_cast<std::uint32_t>(counter >> 32), Block{{counter, counter}, {}});
    Block& block = entry->second;
    if (is_new) {
        return;
    }
    if (counter > block.seen.last) {
        if (counter - block.seen.last > 1) {
            open_gap(block, block.seen.last + 1, counter - 1);
        }
        block.seen.last = counter;
        return;
    }
    if (counter < block.seen.first) {
        if (block.seen.first - counter > 1) {
            open_gap(block, counter + 1, block.seen.first - 1);
        }
        block.seen.first = counter;
        return;
    }
    auto gap = block.gaps.upper_bound(counter);
    if (gap == block.gaps.begin() || std::prev(gap)->second < counter) {
        ++duplicates_;
        return;
    }
    gap = std::prev(gap);
    const auto [first, last] = *gap;
    block.gaps.erase(gap);
    missing_ -= last - first + 1;
    if (counter != first) {
        open_gap(block, first, counter - 1);
    }
    if (counter != last) {
        open_gap(block, counter + 1, last);
    }
}

std::vector<Range> GapTracker::gaps() const {
    std::vector<Range> all;
    for (const auto& [number, block] : blocks_) {
        for (const auto& [first, last] : block.gaps) {
            all.push_back({first, last});
        }
    }
    return all;
}

std::vector<Range> GapTracker::seen() const {
    std::vector<Range> all;
    for (const auto& [number, block] : blocks_) {
        all.push_back(block.seen);
    }
    return all;
}

}  // namespace flowtap::tools::receive
