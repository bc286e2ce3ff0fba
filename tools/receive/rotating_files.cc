#include "tools/receive/rotating_files.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace flowtap::tools::receive {
namespace {

constexpr std::string_view prefix = "flowtap-";
constexpr std::string_view suffix = ".pcap";
constexpr std::uint64_t file_header = 24;  // of the pcap format
constexpr std::uint64_t packet_header = 16;

std::filesystem::path partial(const std::filesystem::path& name) {
    return name.string() + ".partial";
}

bool is_ours(const std::string& name) {
    return name.starts_with(prefix) && name.ends_with(suffix);
}

}  // namespace

std::expected<void, std::string> RotatingFiles::open(Clock::time_point now) {
    const std::string time = fmt::format("{:%Y%m%dT%H%M%SZ}", fmt::gmtime(std::time(nullptr)));
    std::error_code error;
    do {
        name_ = rotation_.folder / fmt::format("{}{}-{:08}{}", prefix, time, ++number_, suffix);
    } while (std::filesystem::exists(name_, error) || std::filesystem::exists(partial(name_), error));
    auto sink = Sink::create(partial(name_), Sink::Existing::refuse);
    if (!sink) {
        return std::unexpected(sink.error().message);
    }
    sink_.emplace(std::move(*sink));
    opened_ = now;
    bytes_ = file_header;
    return {};
}

std::expected<void, std::string> RotatingFiles::write(std::span<const std::uint8_t> packet,
                                                      const timeval& time, Clock::time_point now) {
    const std::uint64_t size = packet_header + packet.size();
    const bool full = rotation_.bytes && bytes_ + size > *rotation_.bytes;
    const bool old = rotation_.age && now - opened_ >= *rotation_.age;
    if (sink_ && (full || old)) {
        if (auto closed = close(); !closed) {
            return closed;
        }
    }
    if (!sink_) {
        if (auto opened = open(now); !opened) {
            return opened;
        }
    }
    bytes_ += size;
    return sink_->write(packet, time);
}

std::expected<void, std::string> RotatingFiles::tend(Clock::time_point now) {
    if (!sink_) {
        return {};
    }
    if (rotation_.age && now - opened_ >= *rotation_.age) {
        return close();
    }
    return sink_->flush();
}

std::expected<void, std::string> RotatingFiles::close() {
    if (!sink_) {
        return {};
    }
    const auto written = sink_->flush();
    sink_.reset();
    if (!written) {
        return written;
    }
    std::error_code error;
    std::filesystem::rename(partial(name_), name_, error);
    if (error) {
        return std::unexpected(fmt::format("{}: {}", name_.string(), error.message()));
    }
    ++completed_;
    delete_oldest();
    return {};
}

/// A file that cannot be deleted, or is deleted by somebody else at this moment, harms nothing.
void RotatingFiles::delete_oldest() const {
    if (!rotation_.keep) {
        return;
    }
    std::error_code error;
    std::vector<std::filesystem::path> complete;
    for (const auto& entry : std::filesystem::directory_iterator(rotation_.folder, error)) {
        if (is_ours(entry.path().filename().string())) {
            complete.push_back(entry.path());
        }
    }
    std::ranges::sort(complete);
    for (std::size_t i = 0; i + *rotation_.keep < complete.size(); ++i) {
        std::filesystem::remove(complete[i], error);
    }
}

}  // namespace flowtap::tools::receive
