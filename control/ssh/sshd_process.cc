#include "control/ssh/sshd_process.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <system_error>
#include <vector>

namespace flowtap::control::ssh {
namespace {

struct FileActions {
    FileActions() { ::posix_spawn_file_actions_init(&actions); }
    ~FileActions() { ::posix_spawn_file_actions_destroy(&actions); }
    FileActions(const FileActions&) = delete;
    FileActions& operator=(const FileActions&) = delete;
    posix_spawn_file_actions_t actions{};
};

struct Attributes {
    Attributes() { ::posix_spawnattr_init(&attributes); }
    ~Attributes() { ::posix_spawnattr_destroy(&attributes); }
    Attributes(const Attributes&) = delete;
    Attributes& operator=(const Attributes&) = delete;
    posix_spawnattr_t attributes{};
};

std::expected<pid_t, int> spawn(std::vector<std::string> arguments, const FileActions& files) {
    Attributes attributes;
    sigset_t none{};
    sigset_t all{};
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes.attributes, &none);
    ::posix_spawnattr_setsigdefault(&attributes.attributes, &all);
    // A session of its own: what ends the gate (Ctrl-C at a terminal) ends no mediation device's session.
    ::posix_spawnattr_setflags(
        &attributes.attributes,
        static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID));
    std::vector<char*> argv;
    for (auto& argument : arguments) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    std::array<char*, 2> environment{path.data(), nullptr};

    pid_t process = -1;
    const int error = ::posix_spawn(&process, argv[0], &files.actions, &attributes.attributes, argv.data(),
                                    environment.data());
    if (error != 0) {
        return std::unexpected(error);
    }
    return process;
}

}  // namespace

int make_privilege_separation_directory() {
    return ::mkdir("/run/sshd", 0755) == 0 || errno == EEXIST ? 0 : errno;
}

std::expected<void, Failure> SshdProcess::check() const {
    if (const int error = make_privilege_separation_directory(); error != 0) {
        return std::unexpected(
            Failure{ExitCode::failure, fmt::format("cannot make /run/sshd, which sshd needs: {}",
                                                   std::generic_category().message(error))});
    }
    FileActions files;
    ::posix_spawn_file_actions_addopen(&files.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addclosefrom_np(&files.actions, STDERR_FILENO + 1);
    const auto process = spawn({program.string(), "-t", "-e", "-f", configuration.string()}, files);
    if (!process) {
        return std::unexpected(Failure{
            ExitCode::failure, fmt::format("cannot run {}: {} (package openssh-server)", program.string(),
                                           std::generic_category().message(process.error()))});
    }
    int status = 0;
    while (::waitpid(*process, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return {};
    }
    return std::unexpected(Failure{
        ExitCode::configuration,
        fmt::format("{} refuses {}; its reason stands above (a host key that is missing or readable by "
                    "others is the usual one)",
                    program.string(), configuration.string())});
}

std::expected<pid_t, int> SshdProcess::start(int connection, int log) const {
    if (const int error = make_privilege_separation_directory(); error != 0) {
        return std::unexpected(error);
    }
    FileActions files;
    ::posix_spawn_file_actions_adddup2(&files.actions, connection, STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&files.actions, connection, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&files.actions, log, STDERR_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&files.actions, STDERR_FILENO + 1);
    return spawn({program.string(), "-i", "-e", "-f", configuration.string()}, files);
}

}  // namespace flowtap::control::ssh
