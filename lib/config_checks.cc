// What only several values together can get wrong. Values that were bad by themselves are left out: one
// mistake makes one error.
#include "lib/config_schema.h"
#include "lib/interface_name.h"

#include <algorithm>
#include <map>
#include <unistd.h>

namespace flowtap::lib {
namespace {

/// An IPv6 link carries packets of this size (RFC 8200 section 5).
constexpr std::uint32_t least_ipv6_mtu = 1280;

/// Every name of the section (or whatever `text` gives for an element) once.
template <typename Section, typename Text>
void check_unique(ConfigReader& reader, std::string_view section, std::string_view key,
                  const std::vector<Section>& elements, Text text) {
    std::map<std::string, std::size_t, std::less<>> seen;
    for (std::size_t i = 0; i < elements.size(); ++i) {
        const toml::node* value = reader.good(section, i, key);
        if (value == nullptr) {
            continue;
        }
        const auto [first, is_new] = seen.emplace(text(elements[i]), i);
        if (!is_new) {
            reader.error(
                *value,
                fmt::format("the [[{}]] of {} has the {} {:?} already: another one is needed", section,
                            line_text(reader.where(section, first->second, key)), key, first->first));
        }
    }
}

void check_names(ConfigReader& reader, const Config& config) {
    const auto name = [](const auto& element) { return element.name; };
    check_unique(reader, "port", "name", config.ports, name);
    check_unique(reader, "wire", "name", config.wires, name);
    check_unique(reader, "tunnel", "name", config.tunnels, name);
    check_unique(reader, "destination", "name", config.destinations, name);
    check_unique(reader, "source", "name", config.sources, name);
    check_unique(reader, "interface", "name", config.interfaces, name);
    check_unique(reader, "vrf", "name", config.vrfs, name);
    check_unique(reader, "drop-policy", "name", config.drop_policies, name);
    // The part before the first comma names a DPDK device; the rest are its arguments.
    check_unique(reader, "port", "device", config.ports,
                 [](const PortConfig& port) { return port.device.substr(0, port.device.find(',')); });
}

void check_cores(ConfigReader& reader, const DataplaneConfig& dataplane) {
    const long cores = ::sysconf(_SC_NPROCESSORS_CONF);
    const auto check_core = [&](const toml::node& value, std::uint32_t core) {
        if (core >= cores) {
            reader.error(value, fmt::format("core {} does not exist: this machine has cores 0 to {}", core,
                                            cores - 1));
        }
    };
    if (const toml::node* workers = reader.good("dataplane", 0, "workers")) {
        std::map<std::uint32_t, bool> seen;
        for (const toml::node& item : *workers->as_array()) {
            const auto core = item.value<std::uint32_t>();
            if (!core) {
                continue;
            }
            if (!seen.emplace(*core, true).second) {
                reader.error(item, fmt::format("core {} has a worker already: a core has one", *core));
            }
            check_core(item, *core);
        }
    }
    if (const toml::node* manager = reader.good("dataplane", 0, "manager")) {
        check_core(*manager, *dataplane.manager);
        if (std::ranges::find(dataplane.workers, *dataplane.manager) != dataplane.workers.end()) {
            reader.error(*manager,
                         fmt::format("core {} is a worker's: the manager needs another one, or none named",
                                     *dataplane.manager));
        }
    }
}

void check_interfaces(ConfigReader& reader, const Config& config) {
    for (std::size_t i = 0; i < config.interfaces.size(); ++i) {
        const auto& interface = config.interfaces[i];
        if (const toml::node* name = reader.good("interface", i, "name")) {
            if (!interface.vlan && split_unit(interface.name)) {
                reader.error(*name,
                             fmt::format("{:?} ends in a unit: then `vlan` is needed", interface.name));
            } else if (std::ranges::find(config.ports, interface.name, &PortConfig::name) !=
                       config.ports.end()) {
                reader.error(
                    *name, fmt::format("{:?} is the name of a port: another one is needed", interface.name));
            }
        }
        const toml::node* port = reader.good("interface", i, "port");
        if (port != nullptr && !other_end(config, interface.port)) {
            reader.error(*port, fmt::format("the port {:?} is in no wire: one of a wire is needed",
                                            config.ports[interface.port].name));
        }
    }
    for (std::size_t i = 0; i < config.vrfs.size(); ++i) {
        const toml::node* list = reader.good("vrf", i, "interfaces");
        if (list == nullptr) {
            continue;
        }
        for (const toml::node& item : *list->as_array()) {
            const auto name = item.value_or(std::string_view());
            if (!name.empty() && !find_interface(config, name)) {
                reader.error(item, fmt::format("{:?} is not an interface, nor a port of a wire", name));
            }
        }
    }
}

/// Each port is in one wire at most, once, or is the delivery port.
void check_port_uses(ConfigReader& reader, const Config& config) {
    std::map<std::uint16_t, std::string> uses;
    const auto use = [&](std::string_view section, std::size_t index, std::string_view key,
                         std::uint16_t port, std::string_view what) {
        const toml::node* value = reader.good(section, index, key);
        if (value == nullptr) {
            return;
        }
        const auto [first, is_new] =
            uses.emplace(port, fmt::format("{} ({})", what, line_text(value->source())));
        if (!is_new) {
            reader.error(*value, fmt::format("the port {:?} is in use by {}: a port has one use",
                                             config.ports[port].name, first->second));
        }
    };
    for (std::size_t i = 0; i < config.wires.size(); ++i) {
        const std::string what = fmt::format("the wire {:?}", config.wires[i].name);
        use("wire", i, "a", config.wires[i].a, what);
        use("wire", i, "b", config.wires[i].b, what);
    }
    use("delivery", 0, "port", config.delivery.port, "[delivery]");
}

void check_tunnels(ConfigReader& reader, const Config& config) {
    for (std::size_t i = 0; i < config.tunnels.size(); ++i) {
        const TunnelConfig& tunnel = config.tunnels[i];
        const toml::node* remote = reader.good("tunnel", i, "remote");
        if (remote == nullptr || reader.good("tunnel", i, "local") == nullptr) {
            continue;
        }
        if (tunnel.local.family != tunnel.remote.family) {
            reader.error(
                *remote,
                fmt::format("{} is not of the family of {}, its local end: both ends are IPv4, or both "
                            "are IPv6",
                            to_string(tunnel.remote), to_string(tunnel.local)));
        } else if (tunnel.local == tunnel.remote) {
            reader.error(*remote, fmt::format("{} is the local end too: the gateway's address is needed",
                                              to_string(tunnel.remote)));
        }
        if (tunnel.remote.family == Family::ipv6 && config.delivery.mtu < least_ipv6_mtu) {
            reader.error(reader.where("delivery", 0, "mtu"),
                         fmt::format("{} is too small for the IPv6 tunnel of {}: {} or more is needed",
                                     config.delivery.mtu, line_text(remote->source()), least_ipv6_mtu));
        }
    }
}

void check_routes(ConfigReader& reader, const Config& config) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < config.routes.size(); ++i) {
        if (reader.good("route", i, "prefix") != nullptr) {
            order.push_back(i);
        }
    }
    // By address, the wider first: a prefix then overlaps the last one that no earlier one covers, or none.
    std::ranges::stable_sort(order, {}, [&](std::size_t i) { return config.routes[i].prefix; });
    const std::size_t* cover = nullptr;
    for (const std::size_t& i : order) {
        if (cover == nullptr || !overlaps(config.routes[*cover].prefix, config.routes[i].prefix)) {
            cover = &i;
            continue;
        }
        const auto [first, second] = std::minmax(*cover, i);
        reader.error(
            reader.where("route", second, "prefix"),
            fmt::format("{} overlaps {}, the route of {}: routes must not overlap",
                        to_string(config.routes[second].prefix), to_string(config.routes[first].prefix),
                        line_text(reader.where("route", first, "prefix"))));
    }
}

/// A wildcard takes the port from every other address of its family.
void check_udp(ConfigReader& reader, const UdpConfig& udp) {
    const toml::node* listen = reader.good("udp", 0, "listen");
    if (listen == nullptr) {
        return;
    }
    for (std::size_t i = 0; i < udp.listen.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            const auto any = IpAddress{udp.listen[i].family, {}};
            if (udp.listen[i] == udp.listen[j] || (udp.listen[i].family == udp.listen[j].family &&
                                                   (udp.listen[i] == any || udp.listen[j] == any))) {
                reader.error(*listen->as_array()->get(i),
                             fmt::format("{} and {} are listened on together: one of them is enough",
                                         to_string(udp.listen[j]), to_string(udp.listen[i])));
                return;
            }
        }
    }
}

/// How copies leave belongs to an address and port, not to a name.
bool leave_alike(const DestinationConfig& left, const DestinationConfig& right) {
    return left.shim == right.shim && left.dscp == right.dscp && left.rate_limit == right.rate_limit &&
           left.burst_size == right.burst_size;
}

void check_copies(ConfigReader& reader, const Config& config) {
    std::map<std::pair<IpAddress, std::uint16_t>, std::size_t> seen;
    for (std::size_t i = 0; i < config.destinations.size(); ++i) {
        const DestinationConfig& destination = config.destinations[i];
        const toml::node* burst = reader.good("destination", i, "burst-size");
        if (burst != nullptr && !destination.rate_limit) {
            reader.error(*burst, "a burst-size without a rate-limit limits nothing: add rate-limit");
        }
        if (reader.good("destination", i, "address") == nullptr ||
            reader.good("destination", i, "port") == nullptr) {
            continue;
        }
        const auto [first, is_new] = seen.emplace(std::pair{destination.address, destination.port}, i);
        if (!is_new && !leave_alike(config.destinations[first->second], destination)) {
            reader.error(
                reader.where("destination", i, "name"),
                fmt::format("shim, dscp, rate-limit and burst-size are not those of {}, which has the same "
                            "address and port: they must be",
                            line_text(reader.where("destination", first->second, "name"))));
        }
    }
}

/// Every address of the prefix has a route.
bool is_covered(const Prefix& prefix, std::vector<Prefix> routes) {
    std::erase_if(routes, [&](const Prefix& route) { return !overlaps(route, prefix); });
    if (routes.empty()) {
        return false;
    }
    if (std::ranges::any_of(routes, [&](const Prefix& route) { return route.length <= prefix.length; })) {
        return true;
    }
    // What is left are routes for parts of it: then each half must be covered. Ends at the routes' lengths.
    Prefix lower = prefix;
    lower.length = static_cast<std::uint8_t>(prefix.length + 1);
    Prefix upper = lower;
    auto& byte = upper.address.bytes[prefix.length / 8U];
    byte = static_cast<std::uint8_t>(byte | (0x80U >> (prefix.length % 8U)));
    return is_covered(lower, routes) && is_covered(upper, std::move(routes));
}

void check_destinations(ConfigReader& reader, const Config& config) {
    std::vector<Prefix> routes;
    for (std::size_t i = 0; i < config.routes.size(); ++i) {
        // A route whose prefix could not be read might have covered anything.
        if (reader.good("route", i, "prefix") == nullptr) {
            return;
        }
        routes.push_back(config.routes[i].prefix);
    }
    for (std::size_t i = 0; i < config.destinations.size(); ++i) {
        const DestinationConfig& destination = config.destinations[i];
        const toml::node* address = reader.good("destination", i, "address");
        if (address == nullptr) {
            continue;
        }
        const toml::node* source = reader.good("destination", i, "source-address");
        if (source != nullptr && destination.source_address.family != destination.address.family) {
            reader.error(*source,
                         fmt::format("{} is not of the family of {}, the destination",
                                     to_string(destination.source_address), to_string(destination.address)));
        }
        const toml::node* hard = reader.good("destination", i, "hard-limit");
        if (hard != nullptr && reader.good("destination", i, "soft-limit") != nullptr &&
            *destination.hard_limit < *destination.soft_limit) {
            reader.error(*hard, fmt::format("{} is below the soft limit, {}: it must not be",
                                            *destination.hard_limit, *destination.soft_limit));
        }
        const auto host = static_cast<std::uint8_t>(address_size(destination.address.family) * 8);
        if (!is_covered({destination.address, host}, routes)) {
            reader.error(*address, fmt::format("no [[route]] covers {}: copies could not be delivered",
                                               to_string(destination.address)));
        }
    }
    for (std::size_t i = 0; i < config.sources.size(); ++i) {
        const toml::node* list = reader.good("source", i, "destinations");
        if (list == nullptr) {
            continue;
        }
        for (const toml::node& item : *list->as_array()) {
            const auto prefix = parse_prefix(item.value_or(std::string_view()));
            if (prefix && !is_covered(*prefix, routes)) {
                reader.error(item, fmt::format("no [[route]] covers all of {}: copies could not be delivered",
                                               to_string(*prefix)));
            }
        }
    }
}

}  // namespace

void check_config(ConfigReader& reader, const Config& config) {
    check_names(reader, config);
    check_cores(reader, config.dataplane);
    check_port_uses(reader, config);
    check_tunnels(reader, config);
    check_routes(reader, config);
    check_delivery(reader, config);
    check_destinations(reader, config);
    check_copies(reader, config);
    check_interfaces(reader, config);
    check_udp(reader, config.udp);
}

}  // namespace flowtap::lib
