// flowtap-dtcp: what sshd runs, as the account that logged in, for the subsystem flow-tap-dtcp: a bridge from
// the SSH channel to the control process. The kernel tells control whose process this is (SO_PEERCRED), and
// this says where the client connects from (preface.h), as sshd knows it; nothing that the client says about
// itself goes over.
#include "control/preface.h"
#include "control/ssh/bridge.h"
#include "lib/file_descriptor.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

namespace flowtap::control::ssh {
namespace {

constexpr const char* usage =
    "usage: flowtap-dtcp --socket PATH [--only TOKEN]\n"
    "\n"
    "Copies standard input to the control process's socket PATH and what comes back to standard output. Run "
    "by sshd\n"
    "for the subsystem flow-tap-dtcp; with --only, serves a request only if SSH_ORIGINAL_COMMAND is TOKEN.\n"
    "Exit codes: 0 served, 1 refused or cut short, 2 bad arguments, 69 the control process cannot be "
    "reached.\n";

// How long control may take to accept: it is alive but its queue is full.
constexpr timeval connect_patience{10, 0};

struct Arguments {
    std::string socket;
    std::string only;
    bool restricted = false;
};

enum class Parsed { run, help, wrong };

Parsed parse_arguments(int argc, char* argv[], Arguments& arguments) {
    const std::array<option, 4> options{{
        {"socket", required_argument, nullptr, 's'},
        {"only", required_argument, nullptr, 'o'},
        {"help", no_argument, nullptr, 'h'},
        {nullptr, 0, nullptr, 0},
    }};
    for (int found = 0; (found = ::getopt_long(argc, argv, "h", options.data(), nullptr)) != -1;) {
        switch (found) {
            case 's':
                arguments.socket = optarg;
                break;
            case 'o':
                arguments.only = optarg;
                arguments.restricted = true;
                break;
            case 'h':
                return Parsed::help;
            default:
                return Parsed::wrong;
        }
    }
    return optind == argc && !arguments.socket.empty() ? Parsed::run : Parsed::wrong;
}

/// All of it: a fresh socket's buffer holds so few bytes whole.
bool say(int socket, std::string_view preface) {
    return ::send(socket, preface.data(), preface.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(preface.size());
}

lib::FileDescriptor connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) {
        return {};
    }
    std::ranges::copy(path, address.sun_path);
    lib::FileDescriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &connect_patience, sizeof connect_patience);
    if (!socket ||
        ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return {};
    }
    return socket;
}

/// Makes a descriptor non-blocking and gives it back as it was: at a terminal it is the shell's too.
class NonBlocking {
  public:
    explicit NonBlocking(int descriptor) : descriptor_(descriptor), flags_(::fcntl(descriptor, F_GETFL)) {
        ::fcntl(descriptor_, F_SETFL, flags_ | O_NONBLOCK);
    }
    ~NonBlocking() { ::fcntl(descriptor_, F_SETFL, flags_); }
    NonBlocking(const NonBlocking&) = delete;
    NonBlocking& operator=(const NonBlocking&) = delete;

  private:
    int descriptor_;
    int flags_;
};

/// sshd hands a subsystem's exit status on to the client, but not its standard error: a client that reports
/// more than "failed" has only the former.
int fail(int status, const char* why) {
    std::fputs(why, stderr);
    return status;
}

int run(int argc, char* argv[]) {
    Arguments arguments;
    switch (parse_arguments(argc, argv, arguments)) {
        case Parsed::run:
            break;
        case Parsed::help:
            std::fputs(usage, stdout);
            return 0;
        case Parsed::wrong:
            std::fputs(usage, stderr);
            return 2;
    }
    const char* request = std::getenv("SSH_ORIGINAL_COMMAND");
    if (arguments.restricted && (request == nullptr || std::string_view{request} != arguments.only)) {
        return fail(1, "flowtap: only the subsystem flow-tap-dtcp is served here\n");
    }
    ::signal(SIGPIPE, SIG_IGN);
    const auto service = connect_to(arguments.socket);
    if (!service || !say(service.get(), write_preface(std::getenv("SSH_CONNECTION")))) {
        return fail(EX_UNAVAILABLE, "flowtap: the DTCP service cannot be reached\n");
    }
    const NonBlocking input(STDIN_FILENO);
    const NonBlocking output(STDOUT_FILENO);
    const NonBlocking socket(service.get());
    const auto end = run_bridge({STDIN_FILENO, STDOUT_FILENO, service.get()});
    return end == BridgeEnd::served ? 0 : fail(1, "flowtap: the connection to the DTCP service was cut\n");
}

}  // namespace
}  // namespace flowtap::control::ssh

int main(int argc, char* argv[]) {
    return flowtap::control::ssh::run(argc, argv);
}
