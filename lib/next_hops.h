// Where the delivery port may send to, by its configuration: the neighbours whose MAC addresses have to be
// known. A neighbour's place in the list is its index in shared memory.
#pragma once

#include "lib/config.h"

#include <vector>

namespace flowtap::lib {

/// The address lies in the subnet of an address of the delivery port.
bool on_delivery_link(const DeliveryConfig& delivery, const IpAddress& address);

/// The gateways, then the tunnels' remote ends that are on the link themselves; each once. Empty without
/// `interface`.
std::vector<IpAddress> next_hop_addresses(const Config& config);

}  // namespace flowtap::lib
