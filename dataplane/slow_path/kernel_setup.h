// What the kernel is told about its interface on the delivery port, once, at start: addresses, routes, and
// which neighbours it is to keep track of. Needs CAP_NET_ADMIN; all of it goes with the interface.
//
// Every route of ours goes by one made-up gateway, whose MAC address is written in the kernel's table for
// good. So the kernel sends whatever the real gateways do, and the slow path sees by the destination address
// what is routed, and sends it to the next hop that copies take too.
#pragma once

#include "dataplane/failure.h"
#include "lib/address.h"
#include "lib/config.h"

#include <cstdint>
#include <string>

namespace flowtap::dataplane::slow_path {

/// The made-up gateway's.
inline constexpr lib::MacAddress routed_mac{0x02, 0xf1, 0x0a, 0x00, 0x00, 0x01};

/// `interface`: the kernel's index; `mac`: the delivery port's; `shared`: as shared_interface() has it, of
/// the port's device.
Result<void> set_up_kernel(const lib::Config& config, unsigned interface, const lib::MacAddress& mac,
                           const std::string& shared);

/// Longest packet that the kernel may send into a tunnel: sealed by any suite, it fits the delivery port's
/// MTU.
std::uint32_t tunnel_mtu(std::uint32_t delivery_mtu);

}  // namespace flowtap::dataplane::slow_path
