// The time of DTCP's TIMESTAMP: UTC, "YYYY-MM-DD HH:MM:SS.mmm".
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace flowtap::lib::dtcp {

using Timestamp = std::chrono::sys_time<std::chrono::milliseconds>;

/// Years 0000..9999; times beyond are written as the nearest of them.
std::string to_string(Timestamp time);

/// Nothing where it is not of that form or no such day.
std::optional<Timestamp> parse_timestamp(std::string_view text);

}  // namespace flowtap::lib::dtcp
