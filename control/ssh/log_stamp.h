// sshd's log lines with the time before each: `sshd -e` writes none.
//
// A process of its own reads them, not the gate: sessions outlive the gate, and so must who reads what they
// say. It ends when the last of them has. What sshd prints of a client's words (user names) it has made
// harmless itself.
#pragma once

#include "lib/file_descriptor.h"

#include <chrono>
#include <expected>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace flowtap::control::ssh {

/// Puts the time before each line. What comes without a line end for longer than `longest_line` is cut into
/// lines.
class LogStamp {
  public:
    static constexpr std::size_t longest_line = 4096;
    using Time = std::chrono::system_clock::time_point;

    /// Whole lines, each with time (local, as the gate's own) and name before it; the rest waits.
    std::string add(std::string_view bytes, Time now);
    /// What is left without a line end, as a line.
    std::string finish(Time now);

  private:
    std::string line(std::string_view text, Time now) const;

    std::string rest_;
};

struct LogProcess {
    lib::FileDescriptor input;  ///< standard error of every sshd
    pid_t process = -1;
};

/// Forks the process; it writes to the caller's standard error. To be called before anything is opened that
/// must be closed when the gate ends. Errors: an errno.
std::expected<LogProcess, int> start_log_process();

}  // namespace flowtap::control::ssh
