#include "control/peer_credentials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>

namespace flowtap::control {

namespace {

constexpr std::size_t largest_record = std::size_t{1} << 20;

std::string account(uid_t uid) {
    std::vector<char> memory(4096);
    passwd entry{};
    passwd* found = nullptr;
    while (::getpwuid_r(uid, &entry, memory.data(), memory.size(), &found) == ERANGE &&
           memory.size() < largest_record) {
        memory.resize(2 * memory.size());
    }
    return found == nullptr ? fmt::format("uid {}", uid) : std::string{found->pw_name};
}

}  // namespace

bool PeerCredentials::may_use(gid_t group) const {
    return uid == 0 || std::ranges::find(groups, group) != groups.end();
}

std::expected<PeerCredentials, std::string> peer_credentials(int socket) {
    ucred kernel{};
    socklen_t size = sizeof(kernel);
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &kernel, &size) != 0) {
        return std::unexpected{fmt::format("SO_PEERCRED: {}", std::strerror(errno))};
    }
    PeerCredentials peer{kernel.uid, kernel.pid, std::vector<gid_t>(64), account(kernel.uid)};
    for (;;) {
        auto bytes = static_cast<socklen_t>(peer.groups.size() * sizeof(gid_t));
        if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &bytes) == 0) {
            peer.groups.resize(bytes / sizeof(gid_t));
            break;
        }
        if (errno != ERANGE || bytes > largest_record) {
            return std::unexpected{fmt::format("SO_PEERGROUPS: {}", std::strerror(errno))};
        }
        peer.groups.resize(bytes / sizeof(gid_t));
    }
    peer.groups.push_back(kernel.gid);
    return peer;
}

std::expected<gid_t, std::string> find_group(const std::string& name) {
    std::vector<char> memory(4096);
    group entry{};
    group* found = nullptr;
    while (::getgrnam_r(name.c_str(), &entry, memory.data(), memory.size(), &found) == ERANGE &&
           memory.size() < largest_record) {
        memory.resize(2 * memory.size());
    }
    if (found == nullptr) {
        return std::unexpected{
            fmt::format("there is no group \"{0}\": make it with: groupadd --system {0}", name)};
    }
    return found->gr_gid;
}

}  // namespace flowtap::control
