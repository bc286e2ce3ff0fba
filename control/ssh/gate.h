// The loop of flowtap-gate: accept, decide, hand over to sshd, reap.
//
// One thread, nothing shared. The gate reads no byte of any connection: from accept() on, only sshd does. A
// session counts until its sshd has ended, logged in or not.
#pragma once

#include "control/ssh/admission.h"
#include "control/ssh/failure.h"
#include "control/ssh/listener.h"
#include "control/ssh/log_stamp.h"
#include "control/ssh/refusal_log.h"
#include "control/ssh/sshd_process.h"
#include "lib/file_descriptor.h"

#include <chrono>
#include <expected>
#include <optional>
#include <sys/types.h>
#include <unordered_set>
#include <vector>

namespace flowtap::control::ssh {

/// What happens to the sessions when the gate is asked to stop.
enum class OnStop : std::uint8_t {
    leave_sessions,  ///< they go on: restarting the gate must not cut a mediation device off its answers
    end_sessions,
};

class Gate {
  public:
    using Clock = std::chrono::steady_clock;

    Gate(const lib::SshConfig& config, std::vector<Listener> listeners, SshdProcess sshd, LogProcess log,
         OnStop on_stop);

    /// Serves until SIGTERM or SIGINT. The caller's signal mask comes back as it was.
    std::expected<void, Failure> run();

  private:
    void accept_some(const Listener& listener);
    void serve(lib::FileDescriptor connection, const lib::IpAddress& client);
    void reap();
    void end_sessions(int signals);
    int poll_timeout(Clock::time_point now) const;

    Admission admission_;
    std::size_t connection_limit_;
    std::vector<Listener> listeners_;
    SshdProcess sshd_;
    LogProcess log_;
    OnStop on_stop_;
    RefusalLog refusals_;
    std::unordered_set<pid_t> sessions_;
    std::optional<Clock::time_point> accept_again_;  ///< set while accept() fails for want of resources
};

}  // namespace flowtap::control::ssh
