#include "control/conditions.h"

#include "lib/interface_name.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace flowtap::control {

namespace {

using lib::dtcp::AddRequest;
using lib::dtcp::Code;
using lib::dtcp::Failure;
using lib::dtcp::Name;
using lib::dtcp::Request;

std::string line_of(const Request& request, Name name) {
    const auto* const parameter = request.find(name);
    return parameter == nullptr ? std::string{} : std::string{parameter->line};
}

void add_once(lib::InterfaceList& list, const lib::InterfaceTerm& term) {
    if (std::ranges::find(list, term) == list.end()) {
        list.push_back(term);
    }
}

/// What leaves by the interface comes in at the other end of its wire.
lib::InterfaceTerm opposite(const lib::Config& config, const lib::InterfaceTerm& term) {
    return {lib::other_end(config, term.port).value_or(term.port), term.vlan};
}

void add_both(const lib::Config& config, lib::InterfaceList& list, const lib::InterfaceTerm& term) {
    add_once(list, term);
    add_once(list, opposite(config, term));
}

/// Nothing: a name is not configured.
std::optional<lib::InterfaceList> of_vrf(const lib::Config& config, const std::string& name) {
    const auto vrf = std::ranges::find(config.vrfs, name, &lib::VrfConfig::name);
    if (vrf == config.vrfs.end()) {
        return std::nullopt;
    }
    lib::InterfaceList list;
    for (const auto& interface : vrf->interfaces) {
        if (const auto term = lib::find_interface(config, interface)) {
            add_both(config, list, *term);
        }
    }
    return list;
}

std::optional<lib::InterfaceList> of_interfaces(const lib::Config& config, const AddRequest& add) {
    lib::InterfaceList list;
    for (const auto& name : add.interfaces) {
        const auto term = lib::find_interface(config, name.port, name.unit);
        if (!term) {
            return std::nullopt;
        }
        add_once(list, add.interface_direction == lib::dtcp::InterfaceDirection::output
                           ? opposite(config, *term)
                           : *term);
    }
    return list;
}

std::expected<lib::InterfaceList, Failure> places(const Request& request, const AddRequest& add,
                                                  const lib::Config& config) {
    constexpr std::string_view unknown = "a VRF or interface that is not configured";
    const bool placed = add.vrf || !add.interfaces.empty();
    if (add.subscriber_interface) {
        if (placed) {
            return std::unexpected{Failure{Code::improper_filter, line_of(request, Name::interface_id),
                                           "X-Interface-Id together with a VRF or an interface"}};
        }
        const auto term = lib::find_interface(config, *add.subscriber_interface);
        if (!term) {
            return std::unexpected{
                Failure{Code::jtap_failure, line_of(request, Name::interface_id), unknown}};
        }
        lib::InterfaceList list;
        add_both(config, list, *term);
        return list;
    }
    if (!placed) {
        return lib::InterfaceList{};
    }
    auto list = add.vrf ? of_vrf(config, *add.vrf) : of_interfaces(config, add);
    if (!list) {
        return std::unexpected{Failure{Code::jtap_failure, add.place_line, unknown}};
    }
    return std::move(*list);
}

}  // namespace

std::expected<lib::Criterion, Failure> conditions(const Request& request, const AddRequest& add,
                                                  const lib::Config& config) {
    auto interfaces = places(request, add, config);
    if (!interfaces) {
        return std::unexpected{std::move(interfaces.error())};
    }
    auto criterion = add.criterion;
    criterion.interfaces = std::move(*interfaces);
    criterion.layer2 = add.layer2;
    criterion.either_address = add.subscriber_address;
    if (lib::term_count(criterion) > lib::max_terms) {
        return std::unexpected{Failure{Code::improper_filter, line_of(request, Name::ip_addr),
                                       "more than 1,024 terms with the address of the subscriber"}};
    }
    return criterion;
}

}  // namespace flowtap::control
