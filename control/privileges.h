// Becoming the process that control is to be: an ordinary account without any privilege, whose memory nobody
// reads.
#pragma once

#include <expected>
#include <filesystem>
#include <string>
#include <sys/types.h>

namespace flowtap::control {

/// What the process ends with.
enum class ExitCode : int { stopped = 0, failure = 1, configuration = 2, privilege = 3 };

/// Why the process cannot go on, for a person.
struct Trouble {
    ExitCode exit = ExitCode::failure;
    std::string message;
};

/// The account that the process is, or will be.
struct Account {
    std::string name;
    uid_t uid = 0;
    gid_t gid = 0;
};

/// Started as root: the configured account, which must exist and not be root. Else: the one that we are.
std::expected<Account, Trouble> choose_account(const std::string& configured);

/// Makes the directory if it is missing. Only its last part is made.
std::expected<void, Trouble> prepare_directory(const std::filesystem::path& directory, mode_t mode);

/// As root, gives the directory to the account. (Not for the directory of sockets: what other processes of
/// the box keep there is not control's to change.)
std::expected<void, Trouble> give_directory(const std::filesystem::path& directory, const Account& account);

/// No core files, not dumpable, no new privileges, memory locked where that is allowed; then, as root,
/// becomes the account with its groups, and keeps no capability. What needs root has been opened before.
std::expected<void, Trouble> drop_privileges(const Account& account);

}  // namespace flowtap::control
