#include "tools/receive/statistics_lines.h"

#include "tools/receive/report.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>

namespace flowtap::tools::receive {
namespace {

/// To append; a new file is its owner's alone. Null: errno says why.
std::FILE* open_private(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR);
    return descriptor < 0 ? nullptr : ::fdopen(descriptor, "a");
}

}  // namespace

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
    std::FILE* const file = path_.empty() ? stdout : open_private(path_);
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
