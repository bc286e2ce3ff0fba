// The configuration that sshd runs with: one subsystem, nothing else.
//
// How "only the subsystem" is enforced. sshd has no setting that refuses exec and shell requests, but
// ForceCommand replaces the command of every request, subsystems included, and hands what was asked for to
// the forced command in SSH_ORIGINAL_COMMAND: for a subsystem its configured command line, for exec the
// client's text, for a shell nothing. So the subsystem's command line is a random token of this start, and
// the forced command (flowtap-dtcp) serves a request only if its SSH_ORIGINAL_COMMAND is that token. A client
// cannot name it in an exec request, since it never leaves the machine. Other subsystems do not exist for
// this sshd.
#pragma once

#include "control/ssh/failure.h"

#include <expected>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::control::ssh {

/// Exactly this name is served (Junos Flow-Tap).
inline constexpr std::string_view subsystem_name = "flow-tap-dtcp";

struct SshdSettings {
    std::vector<std::filesystem::path> host_keys;
    std::filesystem::path bridge;  ///< flowtap-dtcp
    std::filesystem::path socket;  ///< where control listens
    std::string token;             ///< what the subsystem's request looks like to the forced command
};

/// 128 random bits in hexadecimal, from the kernel.
std::expected<std::string, Failure> random_token();

/// Refuses paths that are not absolute or hold anything but letters, digits and "/._+@:,=-": they are read by
/// sshd's parser and by the account's shell, and no quoting is right for both.
std::expected<std::string, Failure> sshd_config_text(const SshdSettings& settings);

/// Writes run_dir/sshd_config (mode 0600), replacing an older one in one step, and returns its path. The
/// directory is made (0755) if it is missing. Because root's sshd reads the file at every connection, the
/// directory and all above it must be root's and not writable by others unless sticky, as sshd asks of its
/// own files.
std::expected<std::filesystem::path, Failure> install_sshd_config(std::string_view text,
                                                                  const std::filesystem::path& run_dir);

}  // namespace flowtap::control::ssh
