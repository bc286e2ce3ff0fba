#include "control/ssh/sshd_config.h"

#include "lib/file_descriptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <iterator>
#include <sys/random.h>
#include <sys/stat.h>
#include <system_error>

namespace flowtap::control::ssh {
namespace {

// Everything that a session could be used for besides the subsystem is named and switched off, whatever the
// defaults of the sshd at hand are. No SHA-1 and no 64-bit tags; the rest of sshd's own choice stays, so that
// a newer OpenSSH brings its newer algorithms.
constexpr std::string_view fixed_part = R"(# Written by flowtap-gate at its start; changes are lost.
AllowGroups flowtap-operation
PermitRootLogin no
UsePAM yes
PubkeyAuthentication yes
PasswordAuthentication yes
KbdInteractiveAuthentication yes
HostbasedAuthentication no
GSSAPIAuthentication no
KerberosAuthentication no
PermitEmptyPasswords no
StrictModes yes
LoginGraceTime 10
MaxAuthTries 3
MaxSessions 1

PermitTTY no
PermitUserRC no
PermitUserEnvironment no
DisableForwarding yes
AllowTcpForwarding no
AllowStreamLocalForwarding no
AllowAgentForwarding no
X11Forwarding no
PermitTunnel no
PermitOpen none
PermitListen none
GatewayPorts no
ChrootDirectory none

MACs -hmac-sha1*,umac-64*
HostKeyAlgorithms -ssh-rsa*,ssh-dss*
PubkeyAcceptedAlgorithms -ssh-rsa*,ssh-dss*
RequiredRSASize 2048
Compression no
TCPKeepAlive yes
UseDNS no
PrintMotd no
PrintLastLog no
Banner none
VersionAddendum none
LogLevel INFO

)";

std::expected<void, Failure> check_path(const std::filesystem::path& path) {
    constexpr std::string_view allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+@:,=-";
    const std::string text = path.string();
    if (text.starts_with('/') && text.find_first_not_of(allowed) == std::string::npos) {
        return {};
    }
    return std::unexpected(
        Failure{ExitCode::configuration,
                fmt::format("path '{}' cannot stand in sshd's configuration: it must be absolute and made of "
                            "letters, digits and /._+@:,=- only",
                            text)});
}

Failure system_failure(std::string_view what, const std::filesystem::path& path, int error) {
    return {error == EACCES || error == EPERM ? ExitCode::privilege : ExitCode::failure,
            fmt::format("{} {}: {}", what, path.string(), std::generic_category().message(error))};
}

std::expected<void, Failure> check_directory(const std::filesystem::path& directory) {
    struct stat status{};
    if (::stat(directory.c_str(), &status) != 0) {
        return std::unexpected(system_failure("cannot look at", directory, errno));
    }
    const bool others_write = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0;
    const bool sticky = (status.st_mode & S_ISVTX) != 0;
    if (S_ISDIR(status.st_mode) && status.st_uid == 0 && (!others_write || sticky)) {
        return {};
    }
    return std::unexpected(Failure{
        ExitCode::configuration,
        fmt::format(
            "{} (on the way to run-dir) must be a directory owned by root and writable by nobody else "
            "unless it is sticky (for example root:flowtap-control 1775), because root's sshd reads its "
            "configuration there; it is uid {}, mode {:04o}",
            directory.string(), status.st_uid, status.st_mode & 07777U)});
}

bool write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const auto written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

}  // namespace

std::expected<std::string, Failure> random_token() {
    std::array<std::uint8_t, 16> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
        return std::unexpected(Failure{ExitCode::failure, "the kernel gives no random bytes"});
    }
    std::string token;
    for (const auto byte : bytes) {
        token += fmt::format("{:02x}", byte);
    }
    return token;
}

std::expected<std::string, Failure> sshd_config_text(const SshdSettings& settings) {
    std::string text{fixed_part};
    auto out = std::back_inserter(text);
    for (const auto& key : settings.host_keys) {
        if (auto checked = check_path(key); !checked) {
            return std::unexpected(std::move(checked.error()));
        }
        fmt::format_to(out, "HostKey {}\n", key.string());
    }
    for (const auto* path : {&settings.bridge, &settings.socket}) {
        if (auto checked = check_path(*path); !checked) {
            return std::unexpected(std::move(checked.error()));
        }
    }
    fmt::format_to(out, "Subsystem {} {}\n", subsystem_name, settings.token);
    fmt::format_to(out, "ForceCommand exec {} --socket {} --only {}\n", settings.bridge.string(),
                   settings.socket.string(), settings.token);
    return text;
}

std::expected<std::filesystem::path, Failure> install_sshd_config(std::string_view text,
                                                                  const std::filesystem::path& run_dir) {
    std::error_code error;
    std::filesystem::create_directories(run_dir, error);
    if (error) {
        return std::unexpected(system_failure("cannot make run-dir", run_dir, error.value()));
    }
    const auto directory = std::filesystem::canonical(run_dir, error);
    if (error) {
        return std::unexpected(system_failure("cannot find run-dir", run_dir, error.value()));
    }
    for (auto up = directory;; up = up.parent_path()) {
        if (auto checked = check_directory(up); !checked) {
            return std::unexpected(std::move(checked.error()));
        }
        if (up == up.root_path()) {
            break;
        }
    }
    auto file = directory / "sshd_config";
    const auto fresh = directory / "sshd_config.new";
    ::unlink(fresh.c_str());
    const lib::FileDescriptor out{
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
    if (!out || !write_all(out.get(), text) || std::rename(fresh.c_str(), file.c_str()) != 0) {
        return std::unexpected(system_failure("cannot write", file, errno));
    }
    return file;
}

}  // namespace flowtap::control::ssh
