#include "control/admission.h"

#include "control/conditions.h"
#include "control/shims.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace flowtap::control {

namespace {

using lib::dtcp::AddRequest;
using lib::dtcp::Cdest;
using lib::dtcp::Code;
using lib::dtcp::Failure;
using lib::dtcp::Name;
using lib::dtcp::Request;

std::unexpected<Failure> refuse(const Request& request, Code code, Name name, std::string_view reason) {
    const auto* const parameter = request.find(name);
    return std::unexpected{
        Failure{code, parameter == nullptr ? std::string{} : std::string{parameter->line}, reason}};
}

bool within(std::span<const lib::Prefix> prefixes, const lib::IpAddress& address) {
    return std::ranges::any_of(prefixes,
                               [&](const lib::Prefix& prefix) { return lib::contains(prefix, address); });
}

bool has_route(const lib::Config& config, const lib::IpAddress& address) {
    return std::ranges::any_of(
        config.routes, [&](const lib::RouteConfig& route) { return lib::contains(route.prefix, address); });
}

lib::TapAction action_of(const AddRequest& add) {
    switch (add.action) {
        case lib::dtcp::Action::redirect:
            return lib::TapAction::redirect;
        case lib::dtcp::Action::block:
            return lib::TapAction::block;
        case lib::dtcp::Action::copy:
            break;
    }
    return lib::TapAction::copy;
}

bool may(const lib::SourceConfig& source, lib::TapAction action) {
    if (action == lib::TapAction::copy) {
        return true;
    }
    const auto privilege =
        action == lib::TapAction::redirect ? lib::PrivilegedAction::redirect : lib::PrivilegedAction::block;
    return std::ranges::find(source.actions, privilege) != source.actions.end();
}

/// What the configuration says of copies to the address and port, under whatever name.
const lib::DestinationConfig* settings_of(const lib::Config& config, const lib::IpAddress& address,
                                          std::uint16_t port) {
    const auto found =
        std::ranges::find_if(config.destinations, [&](const lib::DestinationConfig& destination) {
            return destination.address == address && destination.port == port;
        });
    return found != config.destinations.end() ? &*found : nullptr;
}

std::expected<lib::TapDestination, Failure> place(const Request& request, const Cdest& cdest,
                                                  const lib::Config& config,
                                                  const lib::SourceConfig& source) {
    const auto configured =
        std::ranges::find_if(config.destinations, [&](const lib::DestinationConfig& known) {
            return known.name == cdest.id && within(source.destinations, known.address);
        });
    const bool known = configured != config.destinations.end();
    if (!known && !cdest.dest_address && !cdest.dest_port && !cdest.source_address && !cdest.source_port) {
        return refuse(request, Code::unknown_cdest, Name::cdest_id,
                      "a content destination that is not known");
    }
    const auto to = cdest.dest_address ? *cdest.dest_address : known ? configured->address : lib::IpAddress{};
    const auto from = cdest.source_address ? *cdest.source_address
                      : known              ? configured->source_address
                                           : lib::IpAddress{};
    if (!known && (!cdest.dest_address || !cdest.dest_port || !cdest.source_address || !cdest.source_port)) {
        return std::unexpected{
            Failure{Code::jtap_failure, {}, "one of the four X-JTap-Cdest parameters is missing"}};
    }
    if (!within(source.destinations, to)) {
        return refuse(request, Code::jtap_failure, Name::jtap_cdest_dest_address,
                      "an address that the source may not deliver to");
    }
    if (!has_route(config, to)) {
        return refuse(request, Code::jtap_failure, Name::jtap_cdest_dest_address,
                      "an address without a delivery route");
    }
    if (to.family != from.family) {
        return refuse(request, Code::jtap_failure, Name::jtap_cdest_source_address,
                      "source and destination of different families");
    }
    lib::TapDestination destination;
    destination.family = to.family;
    destination.ttl = cdest.ttl ? *cdest.ttl : known ? configured->ttl : std::uint8_t{255};
    destination.dest_port = cdest.dest_port ? *cdest.dest_port : configured->port;
    destination.source_port = cdest.source_port ? *cdest.source_port : configured->source_port;
    destination.dest_address = to.bytes;
    destination.source_address = from.bytes;
    if (const auto* const settings = settings_of(config, to, destination.dest_port)) {
        destination.shim = settings->shim;
        destination.dscp = settings->dscp;
        if (settings->rate_limit) {
            destination.limiter = static_cast<std::uint16_t>(settings - config.destinations.data());
        }
    }
    return destination;
}

}  // namespace

std::expected<TapPlan, Failure> admit(const Request& request, AddRequest add, const lib::Config& config,
                                      const lib::SourceConfig& source) {
    TapPlan plan;
    plan.action = action_of(add);
    if (!may(source, plan.action)) {
        return refuse(request, Code::not_implemented, Name::action, "an action that the source may not use");
    }
    TapText text;
    for (auto& cdest : add.cdests) {
        auto destination = place(request, cdest, config, source);
        if (!destination) {
            return std::unexpected{std::move(destination.error())};
        }
        plan.destinations.push_back(*destination);
        text.cdests.push_back(std::move(cdest.id));
    }
    if (add.intercept_id) {
        const auto ids = intercept_ids(*add.intercept_id);
        if (!ids) {
            return refuse(request, Code::bad_request, Name::md_intercept_id,
                          "the top two bits are not 0 (8 bytes), or 0 or 1 (4 bytes)");
        }
        for (auto& destination : plan.destinations) {
            if (!give_intercept_ids(destination, *ids)) {
                return refuse(request, Code::bad_request, Name::md_intercept_id,
                              "an intercept id of more than the 29 bits that the destination's shim has");
            }
        }
        plan.has_intercept_id = true;
    }
    auto criterion = conditions(request, add, config);
    if (!criterion) {
        return std::unexpected{std::move(criterion.error())};
    }
    plan.criterion = std::move(*criterion);
    if (plan.criterion.layer2 && plan.action != lib::TapAction::copy) {
        return refuse(request, Code::not_implemented, Name::action, "whole frames are only copied");
    }
    if (!add.is_static) {
        plan.timeouts = add.timeouts;
    }
    text.cdest_ids = std::move(add.cdest_ids);
    text.given_filter = std::move(add.given_filter);
    text.given = std::move(add.given);
    plan.text = std::make_shared<const TapText>(std::move(text));
    plan.is_static = add.is_static;
    plan.send_async = add.send_async;
    plan.priority = add.priority;
    return plan;
}

}  // namespace flowtap::control
