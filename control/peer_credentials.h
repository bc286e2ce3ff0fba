// Who is at the other end of a unix socket, as the kernel says.
#pragma once

#include <expected>
#include <string>
#include <sys/types.h>
#include <vector>

namespace flowtap::control {

struct PeerCredentials {
    uid_t uid = 0;
    pid_t pid = 0;
    std::vector<gid_t> groups;  ///< primary and supplementary
    std::string user;           ///< account; "uid N" where there is none

    /// Root, or a member of the group.
    bool may_use(gid_t group) const;
};

/// SO_PEERCRED and SO_PEERGROUPS: what was true when the peer connected.
std::expected<PeerCredentials, std::string> peer_credentials(int socket);

/// The group's number. The error says how the group is made.
std::expected<gid_t, std::string> find_group(const std::string& name);

}  // namespace flowtap::control
