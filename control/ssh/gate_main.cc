// flowtap-gate: admits connections of mediation devices and runs sshd on them. Root, because sshd must be.
#include "control/ssh/admission.h"
#include "control/ssh/gate.h"
#include "control/ssh/listener.h"
#include "control/ssh/log_stamp.h"
#include "control/ssh/sshd_config.h"
#include "control/ssh/sshd_process.h"
#include "lib/config.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstdio>
#include <expected>
#include <fcntl.h>
#include <filesystem>
#include <getopt.h>
#include <grp.h>
#include <linux/capability.h>
#include <optional>
#include <string>
#include <string_view>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace flowtap::control::ssh {
namespace {

constexpr std::string_view usage =
    R"(usage: flowtap-gate --config FILE [--end-sessions] [--sshd PROGRAM] [--bridge PROGRAM]

Listens for mediation devices (section [ssh] of FILE), refuses connections by its access list, connection-limit and
rate-limit, and runs sshd, restricted to the subsystem flow-tap-dtcp, on those admitted. Runs in the foreground, logs
to standard error, stops on SIGTERM or SIGINT.

  --config FILE     the configuration of the box
  --end-sessions    when stopped, end the sessions too (they go on otherwise)
  --sshd PROGRAM    OpenSSH's server (default /usr/sbin/sshd)
  --bridge PROGRAM  flowtap-dtcp (default: beside this program)

Exit codes: 0 stopped as asked, 1 failure, 2 bad configuration or arguments, 3 missing privilege.
)";

struct Arguments {
    std::filesystem::path config;
    std::filesystem::path sshd = "/usr/sbin/sshd";
    std::filesystem::path bridge;
    OnStop on_stop = OnStop::leave_sessions;
    bool help = false;
};

std::expected<Arguments, Failure> parse_arguments(int argc, char* argv[]) {
    const std::array<option, 6> options{{
        {"config", required_argument, nullptr, 'c'},
        {"end-sessions", no_argument, nullptr, 'e'},
        {"sshd", required_argument, nullptr, 's'},
        {"bridge", required_argument, nullptr, 'b'},
        {"help", no_argument, nullptr, 'h'},
        {nullptr, 0, nullptr, 0},
    }};
    Arguments arguments;
    for (int found = 0; (found = ::getopt_long(argc, argv, "h", options.data(), nullptr)) != -1;) {
        switch (found) {
            case 'c':
                arguments.config = optarg;
                break;
            case 'e':
                arguments.on_stop = OnStop::end_sessions;
                break;
            case 's':
                arguments.sshd = optarg;
                break;
            case 'b':
                arguments.bridge = optarg;
                break;
            case 'h':
                arguments.help = true;
                return arguments;
            default:
                return std::unexpected(Failure{ExitCode::configuration, "see flowtap-gate --help"});
        }
    }
    if (optind < argc || arguments.config.empty()) {
        return std::unexpected(Failure{ExitCode::configuration,
                                       "--config FILE is needed, and nothing but options; "
                                       "see flowtap-gate --help"});
    }
    if (arguments.bridge.empty()) {
        std::error_code error;
        arguments.bridge =
            std::filesystem::read_symlink("/proc/self/exe", error).replace_filename("flowtap-dtcp");
    }
    return arguments;
}

/// What sshd needs to authenticate accounts, jail itself and become the account that logged in.
std::expected<void, Failure> check_privilege() {
    if (::geteuid() != 0) {
        return std::unexpected(
            Failure{ExitCode::privilege,
                    fmt::format("root is missing (this is uid {}): sshd needs it to authenticate "
                                "accounts and to become them",
                                ::geteuid())});
    }
    constexpr std::array needed{
        std::pair{CAP_SETUID, "CAP_SETUID"},         std::pair{CAP_SETGID, "CAP_SETGID"},
        std::pair{CAP_SYS_CHROOT, "CAP_SYS_CHROOT"}, std::pair{CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
        std::pair{CAP_CHOWN, "CAP_CHOWN"},           std::pair{CAP_KILL, "CAP_KILL"}};
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> data{};
    if (::syscall(SYS_capget, &header, data.data()) != 0) {
        return std::unexpected(Failure{ExitCode::failure, "cannot read this process's capabilities"});
    }
    std::string missing;
    for (const auto& [capability, name] : needed) {
        if ((data[0].effective & (1U << static_cast<unsigned>(capability))) == 0) {
            missing += fmt::format("{}{}", missing.empty() ? "" : ", ", name);
        }
    }
    if (missing.empty()) {
        return {};
    }
    return std::unexpected(Failure{ExitCode::privilege, fmt::format("{} missing: sshd needs it", missing)});
}

std::expected<lib::Config, Failure> read_config(const std::filesystem::path& file) {
    auto config = lib::load_config(file);
    if (config) {
        return std::move(*config);
    }
    std::string message;
    for (const auto& error : config.error()) {
        message += fmt::format("{}{}", message.empty() ? "" : "\n", lib::to_string(error));
    }
    return std::unexpected(Failure{ExitCode::configuration, message});
}

std::expected<SshdProcess, Failure> prepare_sshd(const lib::Config& config, const Arguments& arguments) {
    if (::access(arguments.bridge.c_str(), X_OK) != 0) {
        return std::unexpected(
            Failure{ExitCode::failure, fmt::format("{} is not there or not executable (--bridge says where "
                                                   "flowtap-dtcp is)",
                                                   arguments.bridge.string())});
    }
    const auto token = random_token();
    if (!token) {
        return std::unexpected(token.error());
    }
    const auto text = sshd_config_text(
        {config.ssh.host_keys, arguments.bridge, config.control.run_dir / "dtcp.sock", *token});
    if (!text) {
        return std::unexpected(text.error());
    }
    auto file = install_sshd_config(*text, config.control.run_dir);
    if (!file) {
        return std::unexpected(file.error());
    }
    SshdProcess sshd{arguments.sshd, std::move(*file)};
    if (auto checked = sshd.check(); !checked) {
        return std::unexpected(checked.error());
    }
    return sshd;
}

std::expected<void, Failure> serve(const Arguments& arguments) {
    const auto config = read_config(arguments.config);
    if (!config) {
        return std::unexpected(config.error());
    }
    if (auto checked = check_privilege(); !checked) {
        return checked;
    }
    const auto sshd = prepare_sshd(*config, arguments);
    if (!sshd) {
        return std::unexpected(sshd.error());
    }
    auto log = start_log_process();
    if (!log) {
        return std::unexpected(
            Failure{ExitCode::failure, fmt::format("cannot start the process of sshd's log: {}",
                                                   std::generic_category().message(log.error()))});
    }
    auto listeners = open_listeners(config->ssh);
    if (!listeners) {
        return std::unexpected(listeners.error());
    }
    for (const auto& listener : *listeners) {
        spdlog::info("listens on {}{}", listener.name,
                     listener.address_here ? "" : ", an address that no interface has yet");
    }
    if (::getgrnam("flowtap-operation") == nullptr) {
        spdlog::warn("there is no group flowtap-operation: nobody can log in");
    }
    spdlog::info(
        "access list of {} prefixes{}, connection-limit {}, rate-limit {} a minute, {} for one "
        "client",
        config->ssh.access.size(), config->ssh.access.empty() ? " (every client may connect)" : "",
        config->ssh.connection_limit, config->ssh.rate_limit,
        share_of(config->ssh.rate_limit, config->ssh.rate_limit_share));
    return Gate(config->ssh, std::move(*listeners), *sshd, std::move(*log), arguments.on_stop).run();
}

/// A descriptor 0, 1 or 2 that is closed would be given to a connection.
void open_standard_descriptors() {
    int descriptor = ::open("/dev/null", O_RDWR);
    while (descriptor >= 0 && descriptor <= STDERR_FILENO) {
        descriptor = ::open("/dev/null", O_RDWR);
    }
    if (descriptor > STDERR_FILENO) {
        ::close(descriptor);
    }
}

int run(int argc, char* argv[]) {
    open_standard_descriptors();
    spdlog::set_default_logger(spdlog::stderr_logger_st("gate"));
    spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %n %l: %v");
    const auto fail = [](const Failure& failure) {
        fmt::print(stderr, "flowtap-gate: {}\n", failure.message);
        return static_cast<int>(failure.code);
    };
    const auto arguments = parse_arguments(argc, argv);
    if (!arguments) {
        return fail(arguments.error());
    }
    if (arguments->help) {
        fmt::print("{}", usage);
    } else if (const auto served = serve(*arguments); !served) {
        return fail(served.error());
    }
    return static_cast<int>(ExitCode::stopped);
}

}  // namespace
}  // namespace flowtap::control::ssh

int main(int argc, char* argv[]) {
    return flowtap::control::ssh::run(argc, argv);
}
