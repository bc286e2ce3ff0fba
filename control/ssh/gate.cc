#include "control/ssh/gate.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <utility>

namespace flowtap::control::ssh {
namespace {

// Connections taken from one listener before ended sessions are looked after again.
constexpr int accepts_at_once = 64;
// How long accepting rests when descriptors or memory ran out; the kernel's queue holds the clients
// meanwhile.
constexpr std::chrono::milliseconds rest{200};
// How long --end-sessions waits for sshd to go by itself.
constexpr std::chrono::seconds patience{5};

std::string reason(int error) {
    return std::generic_category().message(error);
}

/// The signals that the loop takes as events, blocked for as long as this lives.
class Signals {
  public:
    Signals() {
        sigset_t taken{};
        ::sigemptyset(&taken);
        for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) {
            ::sigaddset(&taken, signal);
        }
        ::sigprocmask(SIG_BLOCK, &taken, &before_);
        descriptor_ = lib::FileDescriptor{::signalfd(-1, &taken, SFD_NONBLOCK | SFD_CLOEXEC)};
    }
    ~Signals() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    int descriptor() const { return descriptor_.get(); }

    /// Takes what has come; whether a request to stop was among it.
    static bool stop_asked(int descriptor) {
        bool stop = false;
        signalfd_siginfo info{};
        while (::read(descriptor, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
            stop = stop || info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT;
        }
        return stop;
    }

  private:
    sigset_t before_{};
    lib::FileDescriptor descriptor_;
};

}  // namespace

Gate::Gate(const lib::SshConfig& config, std::vector<Listener> listeners, SshdProcess sshd, LogProcess log,
           OnStop on_stop)
    : admission_(config),
      connection_limit_(config.connection_limit),
      listeners_(std::move(listeners)),
      sshd_(std::move(sshd)),
      log_(std::move(log)),
      on_stop_(on_stop) {}

int Gate::poll_timeout(Clock::time_point now) const {
    std::optional<std::chrono::milliseconds> wait = refusals_.due_in(now);
    if (accept_again_) {
        const auto until = std::chrono::ceil<std::chrono::milliseconds>(*accept_again_ - now);
        wait = std::max(std::chrono::milliseconds{0}, wait ? std::min(*wait, until) : until);
    }
    return wait ? static_cast<int>(wait->count()) : -1;
}

std::expected<void, Failure> Gate::run() {
    const Signals signals;
    if (signals.descriptor() < 0) {
        return std::unexpected(Failure{ExitCode::failure, "cannot take signals: " + reason(errno)});
    }
    spdlog::info("ready");
    std::vector<pollfd> events;
    for (;;) {
        const auto now = Clock::now();
        if (accept_again_ && now >= *accept_again_) {
            accept_again_.reset();
        }
        events.assign(1, {signals.descriptor(), POLLIN, 0});
        for (const auto& listener : listeners_) {
            // A negative descriptor is passed over by poll().
            events.push_back({accept_again_ ? -1 : listener.socket.get(), POLLIN, 0});
        }
        if (::poll(events.data(), events.size(), poll_timeout(now)) < 0 && errno != EINTR) {
            return std::unexpected(Failure{ExitCode::failure, "poll: " + reason(errno)});
        }
        const bool stop = Signals::stop_asked(signals.descriptor());
        reap();
        if (stop) {
            break;
        }
        for (std::size_t i = 0; i < listeners_.size(); ++i) {
            if (events[i + 1].revents != 0) {
                accept_some(listeners_[i]);
            }
        }
        if (const auto line = refusals_.line(Clock::now())) {
            spdlog::warn("{}", *line);
        }
    }
    listeners_.clear();
    if (on_stop_ == OnStop::end_sessions) {
        end_sessions(signals.descriptor());
    }
    spdlog::info("stopped; {} sessions go on", sessions_.size());
    return {};
}

void Gate::accept_some(const Listener& listener) {
    for (int i = 0; i < accepts_at_once; ++i) {
        sockaddr_storage from{};
        socklen_t size = sizeof from;
        lib::FileDescriptor connection{
            ::accept4(listener.socket.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC)};
        if (!connection) {
            const int error = errno;
            if (error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM) {
                spdlog::error("cannot accept on {}: {}; trying again in {} ms", listener.name, reason(error),
                              rest.count());
                accept_again_ = Clock::now() + rest;
            }
            // EAGAIN: none left. Anything else is that one connection's own failure (accept(2)).
            if (error == EAGAIN || accept_again_) {
                return;
            }
            continue;
        }
        if (const auto client = client_address(from)) {
            serve(std::move(connection), *client);
        }
    }
}

void Gate::serve(lib::FileDescriptor connection, const lib::IpAddress& client) {
    const auto verdict = admission_.decide(client, sessions_.size(), Clock::now());
    if (verdict != Verdict::admitted) {
        refusals_.count(verdict, client);
        return;
    }
    const auto process = sshd_.start(connection.get(), log_.input.get());
    if (!process) {
        spdlog::error("no session for {}: cannot start {}: {}", lib::to_string(client),
                      sshd_.program.string(), reason(process.error()));
        return;
    }
    sessions_.insert(*process);
    spdlog::info("session for {}: sshd is process {}; {} of {} sessions", lib::to_string(client), *process,
                 sessions_.size(), connection_limit_);
}

void Gate::reap() {
    for (;;) {
        const pid_t process = ::waitpid(-1, nullptr, WNOHANG);
        if (process <= 0) {
            return;
        }
        if (sessions_.erase(process) != 0) {
            spdlog::info("session of process {} ended; {} of {} sessions", process, sessions_.size(),
                         connection_limit_);
        } else if (process == log_.process) {
            // Sessions that write to it go on without a log; the next ones have a new one.
            spdlog::error("the process that stamps sshd's log lines ended; a new one is started");
            if (auto log = start_log_process()) {
                log_ = std::move(*log);
            } else {
                spdlog::error("it cannot be started: {}; sshd's log is lost from here on",
                              reason(log.error()));
                log_.process = -1;
            }
        }
    }
}

void Gate::end_sessions(int signals) {
    const auto deadline = Clock::now() + patience;
    const auto signal_all = [this](int signal) {
        for (const auto process : sessions_) {
            ::kill(process, signal);
        }
    };
    signal_all(SIGTERM);
    while (!sessions_.empty()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
        if (left.count() <= 0) {
            spdlog::warn("{} sessions did not end by themselves: killed", sessions_.size());
            signal_all(SIGKILL);
            while (!sessions_.empty() && ::waitpid(-1, nullptr, 0) > 0) {
                sessions_.erase(sessions_.begin());
            }
            return;
        }
        pollfd event{signals, POLLIN, 0};
        ::poll(&event, 1, static_cast<int>(left.count()));
        Signals::stop_asked(signals);
        reap();
    }
}

}  // namespace flowtap::control::ssh
