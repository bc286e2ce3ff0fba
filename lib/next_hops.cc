#include "lib/next_hops.h"

#include <algorithm>

namespace flowtap::lib {

bool on_delivery_link(const DeliveryConfig& delivery, const IpAddress& address) {
    return std::ranges::any_of(delivery.addresses,
                               [&](const InterfaceAddress& own) { return contains(subnet(own), address); });
}

std::vector<IpAddress> next_hop_addresses(const Config& config) {
    const DeliveryConfig& delivery = config.delivery;
    std::vector<IpAddress> addresses;
    if (delivery.interface.empty()) {
        return addresses;
    }
    addresses = delivery.gateways;
    for (const TunnelConfig& tunnel : config.tunnels) {
        if (on_delivery_link(delivery, tunnel.remote) &&
            std::ranges::find(addresses, tunnel.remote) == addresses.end()) {
            addresses.push_back(tunnel.remote);
        }
    }
    return addresses;
}

}  // namespace flowtap::lib
