// Whether the host key that a server showed is the one known for it.
#pragma once

#include "tools/dtcp/problem.h"

#include <libssh2.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>

namespace flowtap::tools::dtcp {

struct HostKeyPolicy {
    std::filesystem::path known_hosts;  ///< in OpenSSH's format; need not exist
    bool accept_new = false;            ///< writes down the first key of a host that has none there
};

/// `session`: after the handshake. A key other than the known one is refused whatever the policy and whatever
/// its type: a first key of another type for a known host is a change, too.
std::expected<void, Problem> check_host_key(LIBSSH2_SESSION* session, const std::string& host,
                                            std::uint16_t port, const HostKeyPolicy& policy);

}  // namespace flowtap::tools::dtcp
