// Starting OpenSSH's sshd for one connection (inetd mode, sshd(8) -i).
#pragma once

#include "control/ssh/failure.h"

#include <expected>
#include <filesystem>
#include <sys/types.h>

namespace flowtap::control::ssh {

struct SshdProcess {
    std::filesystem::path program;        ///< sshd
    std::filesystem::path configuration;  ///< of install_sshd_config()

    /// Has sshd itself check the configuration and load the host keys (sshd -t); what it does not like it
    /// says on standard error.
    std::expected<void, Failure> check() const;

    /// Starts sshd on the connection: the socket is its standard input and output, `log` is its standard
    /// error, no other descriptor is open in it, it leads a session of its own, its signals are as after
    /// login and its environment holds only PATH. Returns its process id, or the errno of the failure. The
    /// caller still owns both.
    std::expected<pid_t, int> start(int connection, int log) const;
};

/// sshd jails its unprivileged part in /run/sshd (its "privilege separation directory") and refuses to start
/// without it. Another service may remove it at any time, so it is made before every start. Returns an errno,
/// or 0.
int make_privilege_separation_directory();

}  // namespace flowtap::control::ssh
