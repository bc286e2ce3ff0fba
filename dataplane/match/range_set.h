// Sets of numbers as sorted ranges that neither overlap nor touch.
#pragma once

#include <algorithm>
#include <vector>

namespace flowtap::dataplane::match {

/// Both ends included.
template <typename Value>
struct Range {
    Value first;
    Value last;
};

template <typename Value>
using RangeSet = std::vector<Range<Value>>;

/// Sorts the ranges and joins those that overlap or touch.
template <typename Value>
void normalise(RangeSet<Value>& ranges) {
    if (ranges.empty()) {
        return;
    }
    std::ranges::sort(ranges, {}, &Range<Value>::first);
    std::size_t end = 0;
    for (const Range<Value>& range : ranges) {
        Range<Value>& joined = ranges[end];
        // A range that begins at 0 cannot lie behind another, so `first - 1` never wraps below.
        if (range.first <= joined.last || range.first - 1 == joined.last) {
            joined.last = std::max(joined.last, range.last);
        } else {
            ranges[++end] = range;
        }
    }
    ranges.resize(end + 1);
}

/// result = ranges without holes; both normalised. `result` is another set than the two.
template <typename Value>
void subtract(const RangeSet<Value>& ranges, const RangeSet<Value>& holes, RangeSet<Value>& result) {
    result.clear();
    auto hole = holes.begin();
    for (const Range<Value>& range : ranges) {
        while (hole != holes.end() && hole->last < range.first) {
            ++hole;
        }
        Value first = range.first;
        bool rest = true;
        for (auto next = hole; next != holes.end() && next->first <= range.last; ++next) {
            if (next->first > first) {
                result.push_back({first, static_cast<Value>(next->first - 1)});
            }
            if (next->last >= range.last) {
                rest = false;
                break;
            }
            first = static_cast<Value>(next->last + 1);
        }
        if (rest) {
            result.push_back({first, range.last});
        }
    }
}

}  // namespace flowtap::dataplane::match
