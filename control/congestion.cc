#include "control/congestion.h"

#include <algorithm>

namespace flowtap::control {

std::vector<lib::TapSlot> choose_purge(std::vector<LoadedTap> taps, Bandwidth limit) {
    Bandwidth sum = 0;
    for (const auto& tap : taps) {
        sum += tap.average;
    }
    std::ranges::sort(taps, [](const LoadedTap& left, const LoadedTap& right) {
        return left.priority != right.priority ? left.priority < right.priority
               : left.added != right.added     ? left.added > right.added
                                               : left.slot > right.slot;
    });
    std::vector<lib::TapSlot> chosen;
    for (const auto& tap : taps) {
        if (sum <= limit) {
            break;
        }
        if (tap.average != 0) {
            chosen.push_back(tap.slot);
            sum -= tap.average;
        }
    }
    return chosen;
}

}  // namespace flowtap::control
