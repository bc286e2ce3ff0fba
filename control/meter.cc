#include "control/meter.h"

#include <algorithm>

namespace flowtap::control {

void Meters::sample(lib::TapSlot slot, std::uint64_t time, std::uint64_t bytes, std::uint64_t before_time,
                    std::uint64_t before) {
    auto found = meters_.find(slot);
    if (found == meters_.end()) {
        if (bytes == before) {
            return;
        }
        found = meters_.try_emplace(slot).first;
        found->second.push_back({before_time, before});
    }
    auto& readings = found->second;
    readings.push_back({time, bytes});
    // One reading at or before the window's start is kept: what was counted until then.
    while (readings.size() > 1 && readings[1].time + window <= time) {
        readings.pop_front();
    }
    if (readings.front().bytes == bytes && readings.front().time + window <= time) {
        meters_.erase(found);
    }
}

std::uint64_t Meters::average(lib::TapSlot slot, std::uint64_t now, std::uint64_t bytes, std::uint64_t before,
                              std::uint64_t added) const {
    const std::uint64_t life = std::max<std::uint64_t>(now > added ? now - added : 0, 1);
    Reading start{now - std::min({life, window, now}), before};
    if (const auto found = meters_.find(slot); found != meters_.end()) {
        // The last reading at or before the window's start; else what was counted before the first.
        start.bytes = found->second.front().bytes;
        for (const auto& reading : found->second) {
            if (reading.time + window <= now) {
                start = reading;
            }
        }
    }
    const double bits = static_cast<double>(bytes - std::min(start.bytes, bytes)) * 8;
    const double seconds = static_cast<double>(std::max<std::uint64_t>(now - start.time, 1)) / 1e9;
    return static_cast<std::uint64_t>(bits / seconds);
}

}  // namespace flowtap::control
