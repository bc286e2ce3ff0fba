// What the delivery port's interface, its addresses and its next hops can get wrong together.
#include "lib/config_schema.h"
#include "lib/next_hops.h"

#include <algorithm>
#include <ranges>

namespace flowtap::lib {
namespace {

/// Sealing may add so much (outer header, UDP, ESP, the widest IV, block and ICV), and an IPv6 packet of 1280
/// bytes has to pass (RFC 8200 section 5).
constexpr std::uint32_t least_mtu_for_ipv6_inside = 1280 + 128;

std::string_view name_of(Family family) {
    return family == Family::ipv4 ? "IPv4" : "IPv6";
}

/// Keys that mean nothing without `interface`, and one that means nothing with it.
void check_without_interface(ConfigReader& reader, const Config& config) {
    if (!reader.there("delivery", 0, "next-hop-mac")) {
        reader.error(reader.where("delivery", 0, "next-hop-mac"),
                     "[delivery] needs `next-hop-mac`, or `interface` with `gateways`");
    }
    if (const auto* gateways = reader.good("delivery", 0, "gateways")) {
        reader.error(*gateways, "gateways are found by the kernel: [delivery] needs `interface` for them");
    }
    for (std::size_t i = 0; i < config.tunnels.size(); ++i) {
        if (const auto* file = reader.good("tunnel", i, "sa-in")) {
            reader.error(
                *file, "what comes out of a tunnel goes to the kernel: [delivery] needs `interface` for it");
        }
    }
}

void check_gateways(ConfigReader& reader, const DeliveryConfig& delivery) {
    const toml::node* const list = reader.good("delivery", 0, "gateways");
    if (list == nullptr || reader.good("delivery", 0, "addresses") == nullptr) {
        return;
    }
    for (std::size_t i = 0; i < delivery.gateways.size() && i < list->as_array()->size(); ++i) {
        const IpAddress& gateway = delivery.gateways[i];
        const toml::node& place = *list->as_array()->get(i);
        if (std::ranges::any_of(delivery.addresses,
                                [&](const InterfaceAddress& own) { return own.address == gateway; })) {
            reader.error(place, fmt::format("{} is an address of this box itself", to_string(gateway)));
        } else if (!on_delivery_link(delivery, gateway)) {
            reader.error(place,
                         fmt::format("{} is in no subnet of [delivery] addresses: one of them has to be "
                                     "written with the link's prefix length, such as \"192.0.2.1/24\"",
                                     to_string(gateway)));
        } else if (std::ranges::count(delivery.gateways | std::views::take(i), gateway) != 0) {
            reader.error(place, fmt::format("{} is in the list already", to_string(gateway)));
        }
    }
}

bool has_gateway(const DeliveryConfig& delivery, Family family) {
    return std::ranges::any_of(delivery.gateways,
                               [family](const IpAddress& gateway) { return gateway.family == family; });
}

void check_tunnels(ConfigReader& reader, const Config& config) {
    const DeliveryConfig& delivery = config.delivery;
    for (std::size_t i = 0; i < config.tunnels.size(); ++i) {
        const TunnelConfig& tunnel = config.tunnels[i];
        const toml::node* local = reader.good("tunnel", i, "local");
        if (local != nullptr && std::ranges::find(delivery.addresses, tunnel.local,
                                                  &InterfaceAddress::address) == delivery.addresses.end()) {
            reader.error(*local,
                         fmt::format("{} is not one of [delivery] addresses: with `interface`, it has to be",
                                     to_string(tunnel.local)));
        }
        const toml::node* remote = reader.good("tunnel", i, "remote");
        if (remote != nullptr && !on_delivery_link(delivery, tunnel.remote) &&
            !has_gateway(delivery, tunnel.remote.family)) {
            reader.error(
                *remote,
                fmt::format("{} is not on the delivery port's link: an {} address in [delivery] gateways "
                            "is needed",
                            to_string(tunnel.remote), name_of(tunnel.remote.family)));
        }
    }
}

void check_routes(ConfigReader& reader, const Config& config) {
    const DeliveryConfig& delivery = config.delivery;
    for (std::size_t i = 0; i < config.routes.size(); ++i) {
        const RouteConfig& route = config.routes[i];
        const toml::node* prefix = reader.good("route", i, "prefix");
        if (prefix == nullptr) {
            continue;
        }
        const bool on_link = std::ranges::any_of(delivery.addresses, [&](const InterfaceAddress& own) {
            return overlaps(subnet(own), route.prefix);
        });
        const Family family = route.prefix.address.family;
        if (on_link) {
            reader.error(*prefix,
                         fmt::format("{} overlaps a subnet of [delivery] addresses: what is on the link "
                                     "itself has no gateway before it",
                                     to_string(route.prefix)));
        } else if (!route.tunnel && !has_gateway(delivery, family)) {
            reader.error(*prefix,
                         fmt::format("{} is reached in clear: an {} address in [delivery] gateways is needed",
                                     to_string(route.prefix), name_of(family)));
        } else if (route.tunnel && family == Family::ipv6 && delivery.mtu < least_mtu_for_ipv6_inside) {
            reader.error(
                reader.where("delivery", 0, "mtu"),
                fmt::format("{} is too small for the IPv6 packets of the kernel behind the tunnel of {}: {} "
                            "or more is needed",
                            delivery.mtu, line_text(prefix->source()), least_mtu_for_ipv6_inside));
        }
    }
}

}  // namespace

void check_delivery(ConfigReader& reader, const Config& config) {
    const DeliveryConfig& delivery = config.delivery;
    if (reader.good("delivery", 0, "port") == nullptr) {
        return;
    }
    const toml::node* const interface = reader.good("delivery", 0, "interface");
    if (interface == nullptr) {
        if (!reader.there("delivery", 0, "interface")) {
            check_without_interface(reader, config);
        }
        return;
    }
    if (const auto* mac = reader.good("delivery", 0, "next-hop-mac")) {
        reader.error(*mac, "with `interface`, next hops are found by the kernel: `gateways` instead");
    }
    if (delivery.addresses.empty()) {
        reader.error(*interface, "an interface needs [delivery] addresses");
        return;
    }
    check_gateways(reader, delivery);
    check_tunnels(reader, config);
    check_routes(reader, config);
}

}  // namespace flowtap::lib
