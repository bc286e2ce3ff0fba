// What a netlink message says of one neighbour. Pure: no socket.
#pragma once

#include "lib/address.h"

#include <libmnl/libmnl.h>

#include <optional>

namespace flowtap::dataplane::slow_path {

struct Neighbour {
    unsigned interface = 0;  ///< the kernel's index
    lib::IpAddress address{};
    /// Where it can be sent to: set while the kernel itself would send there (RFC 4861 section 7.3.2:
    /// reachable, stale, delay, probe; or permanent).
    std::optional<lib::MacAddress> mac{};

    bool operator==(const Neighbour&) const = default;
};

/// Of RTM_NEWNEIGH or RTM_DELNEIGH; nothing of any other message, of other families, and of what is cut
/// short. `message` is whole, as mnl_nlmsg_ok has it.
std::optional<Neighbour> parse_neighbour(const nlmsghdr& message);

}  // namespace flowtap::dataplane::slow_path
