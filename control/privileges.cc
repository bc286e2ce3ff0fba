#include "control/privileges.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <grp.h>
#include <pwd.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace flowtap::control {

namespace {

std::unexpected<Trouble> failed(std::string_view step) {
    return std::unexpected{
        Trouble{ExitCode::privilege, fmt::format("cannot {}: {}", step, std::strerror(errno))}};
}

}  // namespace

std::expected<Account, Trouble> choose_account(const std::string& configured) {
    if (::geteuid() != 0) {
        return Account{configured, ::geteuid(), ::getegid()};
    }
    std::vector<char> memory(65'536);
    passwd entry{};
    passwd* found = nullptr;
    ::getpwnam_r(configured.c_str(), &entry, memory.data(), memory.size(), &found);
    if (found == nullptr) {
        return std::unexpected{Trouble{
            ExitCode::privilege,
            fmt::format(
                "there is no account \"{0}\" ([control] user) to become: make it with: useradd --system "
                "--user-group --no-create-home --shell /usr/sbin/nologin {0}",
                configured)}};
    }
    if (found->pw_uid == 0) {
        return std::unexpected{Trouble{
            ExitCode::privilege,
            fmt::format(
                "[control] user \"{}\" is root: flowtap-control never serves as root, name another account",
                configured)}};
    }
    return Account{configured, found->pw_uid, found->pw_gid};
}

std::expected<void, Trouble> prepare_directory(const std::filesystem::path& directory, mode_t mode) {
    if (::mkdir(directory.c_str(), mode) == 0) {
        static_cast<void>(::chmod(directory.c_str(), mode));  // whatever the umask
    } else if (errno != EEXIST) {
        return failed(fmt::format("make {}", directory.string()));
    }
    struct stat status{};
    if (::stat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
        return std::unexpected{
            Trouble{ExitCode::failure, fmt::format("{}: is no directory", directory.string())}};
    }
    return {};
}

std::expected<void, Trouble> give_directory(const std::filesystem::path& directory, const Account& account) {
    if (::geteuid() == 0 && ::chown(directory.c_str(), account.uid, static_cast<gid_t>(-1)) != 0) {
        return failed(fmt::format("give {} to {}", directory.string(), account.name));
    }
    return {};
}

std::expected<void, Trouble> drop_privileges(const Account& account) {
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_CORE, &none) != 0) {
        return failed("forbid core files");
    }
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return failed("forbid new privileges");
    }
    const bool root = ::geteuid() == 0;
    if (root) {
        if (::initgroups(account.name.c_str(), account.gid) != 0 || ::setgid(account.gid) != 0 ||
            ::setuid(account.uid) != 0) {
            return failed(fmt::format("become {}", account.name));
        }
        if (::setuid(0) == 0) {
            return std::unexpected{Trouble{ExitCode::privilege, "root could be had back: not going on"}};
        }
    }
    // After setuid(), which would reset it.
    if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return failed("make the process undumpable");
    }
    // Pages are locked as they are used. With a small limit every later allocation could fail: then only the
    // keys, which lock themselves, are kept from swap.
    rlimit locked{};
    if (::getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur == RLIM_INFINITY) {
        static_cast<void>(::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
    }
    return {};
}

}  // namespace flowtap::control
