#include "control/ssh/log_stamp.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <utility>

namespace flowtap::control::ssh {
namespace {

void write_all(std::string_view text) {
    while (!text.empty()) {
        const auto written = ::write(STDERR_FILENO, text.data(), text.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return;  // whoever took the log is gone; sshd must not wait for a reader because of it
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

[[noreturn]] void run_log_process(int input) {
    // A process started late has the gate's listeners, which must not outlive it.
    if (::dup2(input, STDIN_FILENO) < 0 || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
        ::close_range(STDERR_FILENO + 1, ~0U, 0) != 0) {
        ::_exit(1);
    }
    // The gate is told to stop with its whole process group at a terminal; the sessions' last lines come
    // after that.
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) {
        ::signal(signal, SIG_IGN);
    }
    ::prctl(PR_SET_NAME, "flowtap-sshlog");
    LogStamp stamp;
    std::array<char, 16'384> buffer{};
    for (;;) {
        const auto got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
        const auto now = std::chrono::system_clock::now();
        if (got > 0) {
            write_all(stamp.add({buffer.data(), static_cast<std::size_t>(got)}, now));
        } else if (got == 0 || errno != EINTR) {
            write_all(stamp.finish(now));
            ::_exit(0);
        }
    }
}

}  // namespace

std::string LogStamp::line(std::string_view text, Time now) const {
    if (text.ends_with('\r')) {
        text.remove_suffix(1);  // `sshd -e` ends its lines with CR LF
    }
    const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
    const auto time = std::chrono::system_clock::to_time_t(seconds);
    std::tm local{};
    ::localtime_r(&time, &local);
    return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03} sshd: {}\n", local,
                       std::chrono::duration_cast<std::chrono::milliseconds>(now - seconds).count(), text);
}

std::string LogStamp::add(std::string_view bytes, Time now) {
    std::string lines;
    rest_ += bytes;
    std::string_view left = rest_;
    for (;;) {
        const auto end = left.find('\n');
        if (end == std::string_view::npos && left.size() < longest_line) {
            break;
        }
        const auto size = std::min(end, longest_line);
        lines += line(left.substr(0, size), now);
        left.remove_prefix(size == end ? size + 1 : size);
    }
    rest_.erase(0, rest_.size() - left.size());
    return lines;
}

std::string LogStamp::finish(Time now) {
    const auto last = std::exchange(rest_, {});
    return last.empty() ? std::string{} : line(last, now);
}

std::expected<LogProcess, int> start_log_process() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return std::unexpected(errno);
    }
    lib::FileDescriptor output{ends[0]};
    LogProcess started{lib::FileDescriptor{ends[1]}, ::fork()};
    if (started.process < 0) {
        return std::unexpected(errno);
    }
    if (started.process == 0) {
        started.input.reset();
        run_log_process(output.get());
    }
    return started;
}

}  // namespace flowtap::control::ssh
