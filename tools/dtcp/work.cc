#include "tools/dtcp/work.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <iostream>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace flowtap::tools::dtcp {

std::optional<Job> KnownWork::next() {
    if (jobs_.empty()) {
        return std::nullopt;
    }
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
}

std::expected<Batch, Problem> read_batch(const std::filesystem::path& file) {
    std::ifstream opened;
    if (file != "-") {
        opened.open(file);
        if (!opened) {
            return std::unexpected(
                Problem{Outcome::local,
                        fmt::format("{}: {}", file.string(), std::generic_category().message(errno))});
        }
    }
    auto& input = file == "-" ? std::cin : opened;
    LineParser parser;
    Batch batch;
    std::string text;
    for (std::size_t line = 1; std::getline(input, text); ++line) {
        auto request = parser.parse(text);
        if (!request) {
            batch.errors.push_back({line, std::move(request.error())});
        } else if (*request) {
            batch.jobs.push_back({.line = line, .request = std::move(**request)});
        }
    }
    if (input.bad()) {
        return std::unexpected(Problem{Outcome::local, fmt::format("{}: cannot be read", file.string())});
    }
    return batch;
}

std::optional<Job> TypedWork::next() {
    if (jobs_.empty()) {
        return std::nullopt;
    }
    auto job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
}

void TypedWork::read_more() {
    std::array<char, 65'536> buffer{};
    const auto got = ::read(descriptor_, buffer.data(), buffer.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (got <= 0) {
        ended_ = true;
        if (!rest_.empty()) {
            take_line(std::exchange(rest_, {}));
        }
        return;
    }
    std::string_view left{buffer.data(), static_cast<std::size_t>(got)};
    for (auto end = left.find('\n'); end != std::string_view::npos; end = left.find('\n')) {
        rest_ += left.substr(0, end);
        left.remove_prefix(end + 1);
        take_line(std::exchange(rest_, {}));
    }
    rest_ += left;
    if (rest_.size() > longest_line) {
        rest_.clear();
        too_long_ = true;
    }
}

void TypedWork::take_line(std::string_view line) {
    ++line_;
    if (std::exchange(too_long_, false) || line.size() > longest_line) {
        errors_.push_back({line_, fmt::format("a line longer than {} bytes", longest_line)});
        return;
    }
    auto request = parser_.parse(line);
    if (!request) {
        errors_.push_back({line_, std::move(request.error())});
    } else if (*request) {
        jobs_.push_back({.line = line_, .request = std::move(**request)});
    }
}

std::vector<LineError> TypedWork::take_errors() {
    return std::exchange(errors_, {});
}

}  // namespace flowtap::tools::dtcp
