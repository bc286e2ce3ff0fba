#include "tools/dtcp/report.h"

#include "tools/dtcp/output.h"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

namespace flowtap::tools::dtcp {

Report::Report(const Options& options)
    : json_{options.json},
      many_{options.mode != Mode::request},
      tell_at_once_{many_ || options.watch},
      file_{options.mode == Mode::batch && options.file != "-" ? options.file.string() : "standard input"} {}

std::string Report::where(std::size_t line) const {
    return many_ && line != 0 ? fmt::format("{}:{}: ", file_, line) : std::string{};
}

void Report::note(Outcome outcome) {
    ++counts_[outcome];
    if (exit_ == Outcome::done) {
        exit_ = outcome;
    }
}

void Report::result(const Job& job, const Result& result) {
    const auto method = job.request.method;
    const Label label{job.line, command_name(method)};
    if (!result) {
        note(result.error().outcome);
        if (json_) {
            fmt::print("{}", to_json(result.error(), label));
        } else {
            fmt::print(stderr, "dtcp: {}{}\n", where(job.line), result.error().message);
        }
    } else {
        const auto& answer = *result;
        note(outcome(answer));
        if (json_) {
            fmt::print("{}", to_json(answer, method, label, notifications_));
        } else if (outcome(answer) == Outcome::done) {
            for (const auto& notification : notifications_) {
                fmt::print(stderr, "dtcp: {}", notification_text(notification));
            }
            fmt::print("{}{}", job.line == 0 ? std::string{} : fmt::format("{}: ", job.line),
                       to_text(answer, method));
        } else {
            fmt::print(stderr, "dtcp: {}{}\n", where(job.line), refusal(answer));
        }
    }
    notifications_.clear();
    std::fflush(stdout);
}

void Report::notification(lib::dtcp::Response notification) {
    if (!tell_at_once_) {
        notifications_.push_back(std::move(notification));
        return;
    }
    fmt::print("{}", json_ ? notification_json(notification) : notification_text(notification));
    std::fflush(stdout);
}

void Report::line_error(const LineError& error) {
    note(Outcome::arguments);
    if (json_) {
        fmt::print("{}", to_json(Problem{Outcome::arguments, error.message}, Label{error.line, ""}));
        std::fflush(stdout);
    } else {
        fmt::print(stderr, "dtcp: {}{}\n", where(error.line), error.message);
    }
}

void Report::remark(const Problem& problem) {
    fmt::print(stderr, "dtcp: {}\n", problem.message);
}

void Report::fail(const Problem& problem) {
    if (exit_ == Outcome::done) {
        exit_ = problem.outcome;
    }
    if (json_) {
        fmt::print("{}", to_json(problem, Label{}));
        std::fflush(stdout);
    } else {
        remark(problem);
    }
}

void Report::summary() const {
    if (json_) {
        fmt::print("{}", summary_json(counts_, not_sent_));
        return;
    }
    std::size_t requests = not_sent_;
    std::string text;
    for (const auto& [what, count] : counts_) {
        requests += count;
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, to_string(what));
    }
    if (not_sent_ != 0) {
        text += fmt::format("{}{} not sent", text.empty() ? "" : ", ", not_sent_);
    }
    fmt::print("{} request{}{}{}\n", requests, requests == 1 ? "" : "s", text.empty() ? "" : ": ", text);
}

}  // namespace flowtap::tools::dtcp
