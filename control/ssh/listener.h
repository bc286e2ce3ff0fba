// The sockets that the gate listens on.
#pragma once

#include "control/ssh/failure.h"
#include "lib/address.h"
#include "lib/config.h"
#include "lib/file_descriptor.h"

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace flowtap::control::ssh {

struct Listener {
    lib::FileDescriptor socket;  ///< non-blocking; accepted sockets inherit its keep-alive settings
    std::string name;            ///< "address port N"
    bool address_here = true;    ///< false: no interface has the address yet; connections come once one has
};

/// Listens on the configured addresses, or on every IPv4 and IPv6 address where none is configured (a machine
/// without IPv6 listens on IPv4 alone). An address that no interface has yet is taken all the same: delivery
/// addresses appear when the dataplane starts, and the order of starts must not matter.
std::expected<std::vector<Listener>, Failure> open_listeners(const lib::SshConfig& config);

}  // namespace flowtap::control::ssh
