#include "control/ssh/refusal_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace flowtap::control::ssh {

void RefusalLog::count(Verdict cause, const lib::IpAddress& client) {
    auto& counted = causes_.at(static_cast<std::size_t>(cause));
    ++counted.total;
    counted.last = client;
}

bool RefusalLog::news() const {
    return std::ranges::any_of(causes_, [](const Cause& cause) { return cause.total != cause.told; });
}

std::optional<std::chrono::milliseconds> RefusalLog::due_in(TimePoint now) const {
    if (!news()) {
        return std::nullopt;
    }
    if (!last_line_ || now - *last_line_ >= interval) {
        return std::chrono::milliseconds{0};
    }
    return std::chrono::ceil<std::chrono::milliseconds>(*last_line_ + interval - now);
}

std::optional<std::string> RefusalLog::line(TimePoint now) {
    if (const auto due = due_in(now); !due || due->count() > 0) {
        return std::nullopt;
    }
    last_line_ = now;
    std::string text = "refused:";
    for (const auto verdict : refusals) {
        auto& cause = causes_.at(static_cast<std::size_t>(verdict));
        if (cause.total == cause.told) {
            continue;
        }
        fmt::format_to(std::back_inserter(text), "{} {} by {} ({} since the start, last from {})",
                       text.back() == ':' ? "" : ",", cause.total - cause.told, to_string(verdict),
                       cause.total, lib::to_string(cause.last));
        cause.told = cause.total;
    }
    return text;
}

std::uint64_t RefusalLog::total(Verdict cause) const {
    return causes_.at(static_cast<std::size_t>(cause)).total;
}

}  // namespace flowtap::control::ssh
