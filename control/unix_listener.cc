#include "control/unix_listener.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace flowtap::control {

namespace {

std::unexpected<Trouble> failed(const std::filesystem::path& path, std::string_view step) {
    const auto exit = errno == EPERM || errno == EACCES ? ExitCode::privilege : ExitCode::failure;
    return std::unexpected{
        Trouble{exit, fmt::format("{}: cannot {}: {}", path.string(), step, std::strerror(errno))}};
}

}  // namespace

std::expected<lib::FileDescriptor, Trouble> listen_unix(const std::filesystem::path& path, uid_t owner,
                                                        gid_t group) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto text = path.string();
    if (text.size() >= sizeof(address.sun_path)) {
        return std::unexpected{
            Trouble{ExitCode::configuration,
                    fmt::format("{}: longer than the {} bytes that a socket's path may have: choose "
                                "a shorter run-dir",
                                text, sizeof(address.sun_path) - 1)}};
    }
    std::memcpy(address.sun_path, text.data(), text.size());
    const auto* const where = reinterpret_cast<const sockaddr*>(&address);

    lib::FileDescriptor socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (!socket) {
        return failed(path, "make a socket");
    }
    struct stat status{};
    if (::lstat(text.c_str(), &status) == 0) {
        if (!S_ISSOCK(status.st_mode)) {
            return std::unexpected{
                Trouble{ExitCode::failure, fmt::format("{}: is there and is no socket", text)}};
        }
        const lib::FileDescriptor probe{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        if (::connect(probe.get(), where, sizeof(address)) == 0 || errno == EAGAIN) {
            return std::unexpected{
                Trouble{ExitCode::failure, fmt::format("{}: another flowtap-control serves it", text)}};
        }
        if (::unlink(text.c_str()) != 0) {
            return failed(path, "remove what an earlier process left");
        }
    }
    const mode_t mask = ::umask(0177);
    const int bound = ::bind(socket.get(), where, sizeof(address));
    ::umask(mask);
    if (bound != 0) {
        return failed(path, "bind");
    }
    if (::chown(text.c_str(), ::geteuid() == 0 ? owner : static_cast<uid_t>(-1), group) != 0) {
        return failed(path,
                      fmt::format("give it to group {} (is flowtap-control's account a member?)", group));
    }
    if (::chmod(text.c_str(), 0660) != 0) {
        return failed(path, "set its mode");
    }
    if (::listen(socket.get(), 64) != 0) {
        return failed(path, "listen");
    }
    return socket;
}

}  // namespace flowtap::control
