#include "tools/receive/statistics_lines.h"

#include "tools/receive/report.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace flowtap::tools::receive {

bool StatisticsLines::due() {
    const auto now = Clock::now();
    if (!interval_ || now - last_ < std::chrono::duration<double>(*interval_)) {
        return false;
    }
    last_ = now;
    return true;
}

std::expected<void, std::string> StatisticsLines::write(const Statistics& statistics,
                                                        std::uint64_t dropped) const {
    const auto time = std::chrono::system_clock::now().time_since_epoch();
    const std::string line =
        json_report(statistics, dropped, std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
    std::FILE* const file = path_.empty() ? stdout : std::fopen(path_.c_str(), "a");
    bool done = file != nullptr && std::fwrite(line.data(), line.size(), 1, file) == 1;
    if (file != nullptr) {
        done = (file == stdout ? std::fflush(file) : std::fclose(file)) == 0 && done;
    }
    if (!done) {
        return std::unexpected(
            fmt::format("{}: {}", path_.empty() ? "standard output" : path_.string(), std::strerror(errno)));
    }
    return {};
}

}  // namespace flowtap::tools::receive
