#include "dataplane/manager.h"

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/signalfd.h>

namespace flowtap::dataplane {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds tick_length{50};
/// A port that fails all the time is not logged all the time.
constexpr std::chrono::seconds complaint_interval{10};
/// A grace period lasts microseconds: so long the manager only yields; then it sleeps between looks.
constexpr milliseconds eager{1};

std::uint64_t sum(const lib::Status& status, std::size_t workers, lib::WorkerCounter counter) {
    std::uint64_t total = 0;
    for (const lib::WorkerStatus& worker : std::span(status.workers).first(workers)) {
        total += worker.counters[counter].load(std::memory_order_relaxed);
    }
    return total;
}

std::uint64_t sum(const lib::Status& status, std::size_t workers, std::size_t port,
                  lib::PortCounter counter) {
    std::uint64_t total = 0;
    for (const lib::WorkerStatus& worker : std::span(status.workers).first(workers)) {
        total += worker.ports[port][counter].load(std::memory_order_relaxed);
    }
    return total;
}

}  // namespace

Result<lib::FileDescriptor> catch_stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    std::signal(SIGPIPE, SIG_IGN);
    lib::FileDescriptor descriptor;
    if (pthread_sigmask(SIG_BLOCK, &signals, nullptr) == 0) {
        descriptor = lib::FileDescriptor{signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)};
    }
    if (!descriptor) {
        return std::unexpected(Failure{ExitCode::failure, fmt::format("signals: {}", std::strerror(errno))});
    }
    return descriptor;
}

Manager::Manager(const Parts& parts)
    : parts_(parts),
      gate_(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(parts.config.dataplane.wait_for_control))) {}

void Manager::set_state(lib::DataplaneState state) {
    parts_.status.manager.state.store(static_cast<std::uint64_t>(state), std::memory_order_relaxed);
}

void Manager::run() {
    set_state(lib::DataplaneState::waiting_for_taps);
    Clock::time_point tick = Clock::now();
    Clock::time_point look = parts_.mirrored.any() ? tick : Clock::time_point::max();
    while (!stop_) {
        wait(std::min(tick, look));
        parts_.link.serve();
        const Clock::time_point now = Clock::now();
        open_gate(now);
        if (now >= look) {
            parts_.mirrored.look(now);
            look = now + MirroredWires::interval;
        }
        if (now < tick) {
            continue;
        }
        tick = now + tick_length;
        lib::add(parts_.status.manager.heartbeat, 1);
        parts_.clock.adjust();
        parts_.link.watch();
        watch_ports(now);
        watch_sas();
        parts_.tasking.reclaim();
    }
    set_state(lib::DataplaneState::stopping);
    parts_.mirrored.release();
    parts_.orders.store(Order::stop, std::memory_order_release);
}

void Manager::wait(Clock::time_point tick) {
    const Clock::time_point now = Clock::now();
    auto timeout = std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(tick - now));
    if (!parts_.link.busy()) {
        busy_since_.reset();
    } else {
        busy_since_ = busy_since_.value_or(now);
        timeout = now - *busy_since_ < eager ? milliseconds{0} : std::min(timeout, milliseconds{1});
    }
    std::array<pollfd, 2> descriptors{pollfd{parts_.stop_signals, POLLIN, 0},
                                      pollfd{parts_.link.fd(), POLLIN, 0}};
    poll(descriptors.data(), descriptors.size(), static_cast<int>(timeout.count()));
    if (signalfd_siginfo signal{};
        descriptors[0].revents != 0 && read(parts_.stop_signals, &signal, sizeof signal) == sizeof signal) {
        spdlog::info("stopping: signal {}", signal.ssi_signo);
        stop_ = true;
    }
}

/// The first frame waits for the taps: until control has restored them, or has not been there for the
/// configured time.
void Manager::open_gate(Clock::time_point now) {
    if (forwarding_) {
        return;
    }
    if (std::exchange(consumed_, parts_.link.consumed()) != parts_.link.consumed()) {
        gate_ = std::max(gate_, now + std::chrono::seconds{1});  // it is restoring them at this moment
    }
    if (!parts_.link.restored() && now < gate_) {
        return;
    }
    if (!parts_.link.restored()) {
        spdlog::warn("no control process has restored the taps in {} s: frames are forwarded untapped",
                     parts_.config.dataplane.wait_for_control);
    }
    forwarding_ = true;
    set_state(lib::DataplaneState::forwarding);
    parts_.orders.store(Order::forward, std::memory_order_release);
    spdlog::info("ready: forwarding, {} taps", parts_.taps.usage().taps);
}

void Manager::watch_ports(Clock::time_point now) {
    const bool tell_all = parts_.link.take_new_control();
    lib::ManagerStatus& manager = parts_.status.manager;
    for (std::size_t i = 0; i < parts_.ports.size(); ++i) {
        Port* const port = parts_.ports[i].get();
        if (port == nullptr) {
            continue;
        }
        const bool just_lost = port->check_lost();
        if (just_lost) {
            spdlog::error("port \"{}\": its device has disappeared; nothing can pass it until the next start",
                          port->name());
        }
        watch_link(i, now);
        // After the link's state, so that who is told sees it down.
        if (just_lost || (tell_all && port->gone())) {
            parts_.link.report(lib::CompletionKind::port_lost, static_cast<std::uint32_t>(i));
        }
        const DriverStatistics statistics = port->statistics();
        manager.driver_missed[i].store(statistics.missed, std::memory_order_relaxed);
        manager.driver_no_mbuf[i].store(statistics.no_buffer, std::memory_order_relaxed);
        manager.driver_failed[i].store(statistics.tx_errors, std::memory_order_relaxed);
        if (statistics.tx_errors > tx_errors_[i] && now >= next_complaint_[i]) {
            next_complaint_[i] = now + complaint_interval;
            spdlog::warn("port \"{}\": its driver took {} frames and could not send them", port->name(),
                         statistics.tx_errors - std::exchange(tx_errors_[i], statistics.tx_errors));
        }
    }
}

void Manager::watch_link(std::size_t index, Clock::time_point now) {
    const Port& port = *parts_.ports[index];
    lib::ManagerStatus& manager = parts_.status.manager;
    const LinkState link = port.link();
    const bool held = parts_.mirrored.held(index);
    const auto state = static_cast<std::uint64_t>(held      ? lib::PortLink::held_down
                                                  : link.up ? lib::PortLink::up
                                                            : lib::PortLink::down);
    manager.link_mbps[index].store(link.mbps, std::memory_order_relaxed);
    PacedLine& line = link_lines_[index];
    if (manager.link_up[index].exchange(state, std::memory_order_relaxed) != state && !port.gone()) {
        line.changed();
    }
    // Of a link that is held down its wire's own line tells.
    if (const unsigned changes = line.due(now); changes != 0 && !held) {
        spdlog::log(link.up ? spdlog::level::info : spdlog::level::warn, "port \"{}\": link {}{}",
                    port.name(), link.up ? "up" : "down", more_changes(changes));
    }
}

void Manager::watch_sas() {
    lib::ManagerStatus& manager = parts_.status.manager;
    for (std::uint32_t slot = 0; slot < lib::max_sas; ++slot) {
        const auto report = parts_.sas.report(lib::SaSlot{slot});
        manager.sa_next[slot].store(report ? report->next : 0, std::memory_order_relaxed);
        manager.sa_lease_end[slot].store(report ? report->lease_end : 0, std::memory_order_relaxed);
        if (report && report->low) {
            parts_.link.report(lib::CompletionKind::lease_low, slot);
        }
    }
    manager.sas.store(parts_.sas.count(), std::memory_order_relaxed);
    manager.taps.store(parts_.taps.usage().taps, std::memory_order_relaxed);
}

void log_summary(const lib::Config& config, const lib::Status& status) {
    const std::size_t workers = config.dataplane.workers.size();
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        using enum lib::PortCounter;
        const auto total = [&](lib::PortCounter counter) {
            return sum(status, workers, i, counter) +
                   (i == config.delivery.port ? status.slow_path.port[counter].load(std::memory_order_relaxed)
                                              : 0);
        };
        spdlog::info("port \"{}\": {} frames received, {} sent, {} dropped", config.ports[i].name,
                     total(rx_packets), total(tx_packets), total(tx_dropped));
    }
    std::string lost;
    for (std::size_t i = 0; i < lib::worker_counters.size(); ++i) {
        const lib::CounterInfo& info = lib::worker_counters[i];
        const std::uint64_t count = sum(status, workers, static_cast<lib::WorkerCounter>(i));
        if (count != 0 && info.severity == lib::Severity::error) {
            lost += fmt::format(", {} {}", count, info.name);
        }
    }
    spdlog::info("copies: {} owed, {} sent{}", sum(status, workers, lib::WorkerCounter::matches),
                 sum(status, workers, lib::WorkerCounter::copies_sent), lost);
}

}  // namespace flowtap::dataplane
