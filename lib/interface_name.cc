#include "lib/interface_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace flowtap::lib {

namespace {

constexpr std::uint32_t largest_vlan = 4094;

const InterfaceConfig* find_named(const Config& config, std::string_view name) {
    const auto found = std::ranges::find(config.interfaces, name, &InterfaceConfig::name);
    return found == config.interfaces.end() ? nullptr : &*found;
}

/// The unit is the VLAN id.
std::optional<InterfaceTerm> with_unit(const Config& config, std::string_view name, std::uint32_t unit) {
    if (unit > largest_vlan) {
        return std::nullopt;
    }
    const auto vlan = static_cast<std::uint16_t>(unit);
    if (const auto* const interface = find_named(config, name)) {
        return interface->vlan ? std::nullopt : std::optional{InterfaceTerm{interface->port, vlan}};
    }
    const auto port = std::ranges::find(config.ports, name, &PortConfig::name);
    if (port == config.ports.end()) {
        return std::nullopt;
    }
    const auto index = static_cast<std::uint16_t>(port - config.ports.begin());
    return other_end(config, index) ? std::optional{InterfaceTerm{index, vlan}} : std::nullopt;
}

}  // namespace

std::optional<std::pair<std::string_view, std::uint32_t>> split_unit(std::string_view name) {
    const auto dot = name.rfind('.');
    if (dot == std::string_view::npos || dot == 0 || dot + 1 == name.size()) {
        return std::nullopt;
    }
    const auto digits = name.substr(dot + 1);
    std::uint32_t unit = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), unit);
    if (error != std::errc{} || stop != digits.data() + digits.size()) {
        return std::nullopt;
    }
    return std::pair{name.substr(0, dot), unit};
}

std::optional<InterfaceTerm> find_interface(const Config& config, std::string_view name, std::uint32_t unit) {
    const auto whole = fmt::format("{}.{}", name, unit);
    for (const auto candidate : {std::string_view{whole}, unit == 0 ? name : std::string_view{}}) {
        const auto* const interface = candidate.empty() ? nullptr : find_named(config, candidate);
        if (interface != nullptr && interface->vlan) {
            return InterfaceTerm{interface->port, *interface->vlan};
        }
    }
    return with_unit(config, name, unit);
}

std::optional<InterfaceTerm> find_interface(const Config& config, std::string_view name) {
    if (const auto* const interface = find_named(config, name); interface != nullptr && interface->vlan) {
        return InterfaceTerm{interface->port, *interface->vlan};
    }
    if (const auto parts = split_unit(name)) {
        return find_interface(config, parts->first, parts->second);
    }
    return find_interface(config, name, 0);
}

std::optional<std::uint16_t> other_end(const Config& config, std::uint16_t port) {
    for (const auto& wire : config.wires) {
        if (wire.a == port || wire.b == port) {
            return wire.a == port ? wire.b : wire.a;
        }
    }
    return std::nullopt;
}

}  // namespace flowtap::lib
