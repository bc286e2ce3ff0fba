#include "dataplane/tap_copies.h"

namespace flowtap::dataplane {

CopyTarget resolve(const lib::TapDestination& destination, std::span<const lib::RouteConfig> routes) {
    CopyTarget target{.encapsulation = make_encapsulation(destination)};
    const lib::IpAddress address{destination.family, destination.dest_address};
    const lib::RouteConfig* best = nullptr;
    for (const lib::RouteConfig& route : routes) {
        if (lib::contains(route.prefix, address) &&
            (best == nullptr || route.prefix.length > best->prefix.length)) {
            best = &route;
        }
    }
    if (best != nullptr) {
        target.route = best->tunnel ? RouteKind::tunnel : RouteKind::clear;
        target.tunnel = best->tunnel.value_or(0);
    }
    return target;
}

FlowKey flow_of(const lib::TapDestination& destination) {
    constexpr std::uint16_t protocol_udp = 17;
    return {.source = destination.source_address,
            .dest = destination.dest_address,
            .source_port = destination.source_port,
            .dest_port = destination.dest_port,
            .protocol = protocol_udp,
            .family = destination.family};
}

}  // namespace flowtap::dataplane
