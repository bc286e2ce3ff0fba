#include "control/admission.h"

#include "control/conditions.h"

#include <algorithm>
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

/// What would be accepted and then not done.
std::optional<std::unexpected<Failure>> unsupported(const Request& request, const AddRequest& add,
                                                    const lib::SourceConfig& source) {
    if (add.action != lib::dtcp::Action::copy) {
        const auto action = add.action == lib::dtcp::Action::redirect ? lib::PrivilegedAction::redirect
                                                                      : lib::PrivilegedAction::block;
        const bool allowed = std::ranges::find(source.actions, action) != source.actions.end();
        return refuse(request, Code::not_implemented, Name::action,
                      allowed ? "an action that the dataplane does not know yet"
                              : "an action that the source may not use");
    }
    if (add.intercept_id) {
        return refuse(request, Code::not_implemented, Name::md_intercept_id,
                      "a parameter that is not supported yet");
    }
    return std::nullopt;
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
    return destination;
}

}  // namespace

std::expected<TapPlan, Failure> admit(const Request& request, AddRequest add, const lib::Config& config,
                                      const lib::SourceConfig& source) {
    if (auto failure = unsupported(request, add, source)) {
        return std::move(*failure);
    }
    TapPlan plan;
    TapText text;
    for (auto& cdest : add.cdests) {
        auto destination = place(request, cdest, config, source);
        if (!destination) {
            return std::unexpected{std::move(destination.error())};
        }
        plan.destinations.push_back(*destination);
        text.cdests.push_back(std::move(cdest.id));
    }
    auto criteria = conditions(request, add, config);
    if (!criteria) {
        return std::unexpected{std::move(criteria.error())};
    }
    plan.criteria = std::move(*criteria);
    if (!add.is_static) {
        plan.timeouts = add.timeouts;
    }
    for (const auto& [given, name] : {std::pair{add.timeouts.packets, Name::timeout_packets},
                                      std::pair{add.timeouts.bytes, Name::timeout_bytes}}) {
        if (plan.criteria.size() > 1 && given.value_or(0) != 0) {
            return refuse(request, Code::not_implemented, name, "a limit over both directions of X-IP-Addr");
        }
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
