// The statistics so far, a line of JSON at intervals: for whoever watches a receiver that runs for ever. Not
// thread-safe.
#pragma once

#include "tools/receive/receiver.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace flowtap::tools::receive {

class StatisticsLines {
  public:
    /// Seconds; unset: no lines. An empty path: standard output.
    StatisticsLines(std::optional<double> interval, std::filesystem::path path)
        : interval_(interval), path_(std::move(path)) {}

    bool wanted() const { return interval_.has_value(); }
    /// True: it is time for a line; then again after an interval.
    bool due();
    /// Appends a line, with the time. Errors say what could not be written.
    std::expected<void, std::string> write(const Statistics& statistics, std::uint64_t dropped) const;

  private:
    using Clock = std::chrono::steady_clock;

    std::optional<double> interval_;
    std::filesystem::path path_;
    Clock::time_point last_ = Clock::now();
};

}  // namespace flowtap::tools::receive
