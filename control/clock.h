// The two clocks of the control process, read once an event and handed down as a value.
#pragma once

#include "lib/dtcp/timestamp.h"

#include <chrono>
#include <cstdint>
#include <ctime>

namespace flowtap::control {

inline constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;

struct Now {
    std::uint64_t boot =
        0;                 ///< CLOCK_BOOTTIME, ns: for durations; the same for every process, never set back
    std::int64_t utc = 0;  ///< ns since 1970: to be shown, never to be reckoned with

    lib::dtcp::Timestamp timestamp() const { return timestamp_of(utc); }

    static lib::dtcp::Timestamp timestamp_of(std::int64_t utc) {
        return lib::dtcp::Timestamp{
            std::chrono::floor<std::chrono::milliseconds>(std::chrono::nanoseconds{utc})};
    }

    static Now read() {
        const auto clock = [](clockid_t id) {
            timespec time{};
            ::clock_gettime(id, &time);
            return static_cast<std::int64_t>(time.tv_sec) *
                       static_cast<std::int64_t>(nanoseconds_per_second) +
                   time.tv_nsec;
        };
        return {static_cast<std::uint64_t>(clock(CLOCK_BOOTTIME)), clock(CLOCK_REALTIME)};
    }
};

}  // namespace flowtap::control
