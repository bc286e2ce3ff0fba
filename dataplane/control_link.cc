#include "dataplane/control_link.h"

#include <rte_pause.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <utility>
#include <variant>

namespace flowtap::dataplane {
namespace {

using Clock = std::chrono::steady_clock;

/// Records taken in one step: a fraction of a millisecond.
constexpr std::size_t commands_per_step = 1024;
/// A grace period and the few steps of a small change take less, mostly.
constexpr std::chrono::microseconds attention{50};

lib::ReaderLimits limits_of(const lib::Config& config) {
    return {.max_taps = config.dataplane.max_taps,
            .tunnel_count = static_cast<std::uint16_t>(config.tunnels.size()),
            .max_changes = {},
            .max_parts = {}};
}

template <typename... Functions>
struct Overload : Functions... {
    using Functions::operator()...;
};

}  // namespace

ControlLink::ControlLink(lib::LinkServer server, lib::StatusRegion& status, Tasking& tasking,
                         StopSwitch& stops, const lib::Config& config)
    : server_(std::move(server)),
      status_(status),
      tasking_(tasking),
      stops_(stops),
      reader_(limits_of(config)) {}

ControlLink::Session::Session(lib::CommandView view, lib::StatusRegion& status)
    : command(std::move(view)),
      commands(command.block().commands, status.block().commands_consumed),
      completions(status.block().completions, command.block().completions_consumed) {}

void ControlLink::serve() {
    take_events();
    take_outcome();
    send_backlog();
    take_commands();
    // What is nearly done is waited for here, without a system call between looks.
    for (const auto end = Clock::now() + attention; tasking_.busy() && Clock::now() < end; rte_pause()) {
        take_outcome();
    }
}

void ControlLink::take_events() {
    while (auto event = server_.poll()) {
        std::visit(Overload{
                       [this](lib::ControlUp& up) {
                           end_session();
                           session_.emplace(std::move(up.command), status_);
                           new_control_ = true;
                           spdlog::info("control is connected (process {})", up.pid);
                       },
                       [](lib::LinkWoken&) {},
                       [this](lib::ControlLost& lost) {
                           spdlog::warn("control is gone ({}): taps, copies and traffic go on",
                                        lost.reason.message);
                           end_session();
                       },
                       [](lib::ControlRefused& refused) {
                           spdlog::warn("a control process was turned away: {}", refused.reason.message);
                       },
                   },
                   *event);
    }
}

void ControlLink::end_session() {
    session_.reset();
    reader_.restart();
    backlog_.clear();
    in_progress_.reset();
    more_commands_ = false;
}

void ControlLink::drop_corrupt() {
    spdlog::error("control's side of the ring is impossible: the link is ended");
    server_.drop("ring index impossible");
    end_session();
}

/// No record is taken while a batch is under way or an answer waits: the ring fills, and control is held
/// back.
void ControlLink::take_commands() {
    more_commands_ = false;
    std::size_t taken = 0;
    while (session_ && !tasking_.busy() && backlog_.empty()) {
        if (taken == commands_per_step) {
            more_commands_ = true;
            break;
        }
        lib::CommandRecord record;
        const auto popped = session_->commands.pop(record);
        if (!popped) {
            drop_corrupt();
            return;
        }
        if (!*popped) {
            break;
        }
        ++taken;
        std::optional<lib::Batch> batch = reader_.take(record);
        if (!batch) {
            continue;
        }
        if (batch->refusal != lib::Refusal::none) {
            complete({.kind = lib::CompletionKind::refused,
                      .refusal = batch->refusal,
                      .slot = batch->slot,
                      .id = static_cast<std::uint64_t>(batch->token)});
            continue;
        }
        in_progress_ = batch->token;
        resync_in_progress_ =
            !batch->changes.empty() && std::holds_alternative<lib::ResyncBegin>(batch->changes.front());
        tasking_.begin(std::move(*batch));
    }
    if (taken != 0) {
        consumed_ += taken;
        if (!tasking_.busy()) {
            server_.wake();  // it may wait for room in the ring; behind a commit it waits for its completion
        }
    }
}

void ControlLink::take_outcome() {
    const std::optional<Tasking::Outcome> outcome = tasking_.advance();
    if (!outcome) {
        return;
    }
    const bool committed = outcome->refusal == lib::Refusal::none;
    restored_ = restored_ || (committed && resync_in_progress_);
    if (session_ && in_progress_ && committed && resync_in_progress_) {
        session_->resynced = true;
    }
    lib::add(committed ? status_.status().manager.commits : status_.status().manager.refusals, 1);
    if (in_progress_) {
        complete({.kind = committed ? lib::CompletionKind::committed : lib::CompletionKind::refused,
                  .refusal = outcome->refusal,
                  .slot = outcome->slot,
                  .id = static_cast<std::uint64_t>(*std::exchange(in_progress_, std::nullopt))});
    }
    report_over();
}

void ControlLink::complete(lib::CompletionRecord record) {
    backlog_.push_back(record);
    send_backlog();
}

void ControlLink::send_backlog() {
    bool sent = false;
    while (session_ && !backlog_.empty()) {
        const auto pushed = session_->completions.push(backlog_.front());
        if (!pushed) {
            drop_corrupt();
            return;
        }
        if (!*pushed) {
            break;
        }
        backlog_.pop_front();
        sent = true;
    }
    if (sent) {
        server_.wake();
    }
}

void ControlLink::report(lib::CompletionKind event, std::uint32_t slot, std::uint64_t id) {
    if (session_) {
        complete({.kind = event, .slot = slot, .id = id});
    }
}

void ControlLink::report_over() {
    for (const Tasking::OverTap& tap : tasking_.take_over()) {
        report(lib::CompletionKind::tap_over, static_cast<std::uint32_t>(tap.slot),
               static_cast<std::uint64_t>(tap.id));
    }
}

void ControlLink::watch() {
    report_over();
    watch_health();
    watch_stops();
}

void ControlLink::watch_health() {
    if (!session_) {
        return;
    }
    const std::uint64_t beat = session_->command.block().heartbeat.load(std::memory_order_relaxed);
    const lib::Health health = session_->heartbeat.observe(lib::HeartbeatWatch::Clock::now(), beat);
    if (std::exchange(session_->health, health) != health) {
        if (health == lib::Health::stalled) {
            spdlog::warn("control does not answer: taps, copies and traffic go on");
        } else {
            spdlog::info("control answers again");
        }
    }
}

void ControlLink::watch_stops() {
    const bool in_charge = session_ && session_->resynced && session_->health == lib::Health::alive;
    const bool permitted = warrant_.observe(StopWarrant::Clock::now(), in_charge);
    if (permitted == stops_.permitted()) {
        return;
    }
    stops_.permit(permitted);
    if (stops_.taps() == 0) {
        return;
    }
    if (permitted) {
        spdlog::info("control is back: Redirect and Block are in force again");
    } else {
        spdlog::warn(
            "control has been away for {} s: no frame is kept back by Redirect or Block until it is back",
            StopWarrant::lifetime.count());
    }
}

}  // namespace flowtap::dataplane
