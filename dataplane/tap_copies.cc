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

void add_target(TapCopies& copies, const lib::TapDestination& destination, const lib::Criterion& criterion,
                std::span<const lib::RouteConfig> routes, std::uint64_t first_number) {
    CopyTarget target = resolve(destination, routes);
    target.limiter = destination.limiter;
    target.variable_shim = destination.shim == lib::Shim::nokia_l3 || destination.shim == lib::Shim::flowtap;
    if (target.variable_shim && !copies.direction) {
        copies.direction = std::make_unique<const DirectionRule>(DirectionRule::of(criterion));
    }
    if (destination.shim == lib::Shim::flowtap) {
        const auto id = lib::read_shim<lib::BigEndian<std::uint32_t>>(destination.shim_bytes.data());
        copies.numbers.push_back(std::make_unique<CopyNumbers>(first_number, id.value()));
        target.numbers = copies.numbers.back().get();
    }
    copies.targets.push_back(target);
    copies.flows.push_back(flow_of(destination));
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
