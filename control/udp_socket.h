// UDP sockets that know to which of the box's addresses a datagram came, and send from it. System calls only.
#pragma once

#include "control/datagram.h"
#include "control/privileges.h"
#include "lib/config.h"
#include "lib/file_descriptor.h"

#include <expected>
#include <optional>
#include <vector>

namespace flowtap::control {

/// One for each address and port of the configuration, bound, never blocking. Errors name address and port.
std::expected<std::vector<lib::FileDescriptor>, Trouble> open_udp(const lib::UdpConfig& config);

/// For notifications: of the family, without an address.
std::expected<lib::FileDescriptor, Trouble> open_udp(lib::Family family);

enum class UdpResult : std::uint8_t {
    done,
    wait,    ///< nothing there, or no room
    failed,  ///< this datagram; the socket is good
};

/// The next datagram, with where it came from and to; `datagram.socket` is left alone.
UdpResult receive_datagram(int socket, Datagram& datagram);

/// From `datagram.local` where it is set.
UdpResult send_datagram(int socket, const Datagram& datagram);

}  // namespace flowtap::control
