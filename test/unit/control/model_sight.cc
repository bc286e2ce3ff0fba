// What can be seen of the service from outside: LIST, and what the dataplane has, in the words of the model.
#include "test/unit/control/model_run.h"
#include "test/unit/control/model_setup.h"

#include <fmt/format.h>

#include <array>
#include <set>

namespace flowtap::test::model {

namespace {

Wide value_of(const std::array<std::uint8_t, 16>& bytes, lib::Family family) {
    Wide value = 0;
    for (std::size_t i = 0; i < (family == lib::Family::ipv4 ? 4U : 16U); ++i) {
        value = value << 8 | bytes[i];
    }
    return value;
}

int number_of(lib::Family family) {
    return family == lib::Family::ipv4 ? 4 : 6;
}

std::string text_of(const lib::AddressList& list, lib::Family family) {
    Spans spans;
    for (const auto& term : list) {
        spans.push_back({.first = value_of(term.first.bytes, family),
                         .last = value_of(term.last.bytes, family),
                         .negated = term.negated});
    }
    return set_text(selected(spans, highest(number_of(family))));
}

std::string text_of(const lib::NumberList& list, Wide most, bool naming) {
    Spans spans;
    for (const auto& term : list) {
        spans.push_back({.first = term.first, .last = term.last, .negated = term.negated});
    }
    return (naming && !list.empty() ? "named " : "") + set_text(selected(spans, most));
}

std::string text_of(const lib::Criterion& criterion) {
    std::set<std::string> places;
    for (const auto& term : criterion.interfaces) {
        places.insert(fmt::format("{}.{}", term.port,
                                  term.vlan == lib::any_vlan ? "any" : fmt::format("{}", term.vlan)));
    }
    std::string where;
    for (const auto& place : places) {
        where += place + ';';
    }
    std::string host;
    if (criterion.either_address) {
        host = " with " + address_text(value_of(criterion.either_address->bytes, criterion.family),
                                       number_of(criterion.family));
    }
    return fmt::format("ipv{} {} to {} {} {} {} {} {} at {}{}{}", number_of(criterion.family),
                       text_of(criterion.source_address, criterion.family),
                       text_of(criterion.dest_address, criterion.family),
                       text_of(criterion.protocol, 255, false), text_of(criterion.source_port, 65'535, true),
                       text_of(criterion.dest_port, 65'535, true), text_of(criterion.icmp_type, 255, true),
                       text_of(criterion.icmp_code, 255, true), where, criterion.layer2 ? " frames" : "",
                       host);
}

std::string text_of(const lib::TapDestination& destination) {
    const auto family = destination.family;
    std::string mirror;
    if (destination.shim == lib::Shim::jmirror) {
        mirror = " mirror ";
        for (const auto byte : destination.shim_bytes) {
            mirror += fmt::format("{:02x}", byte);
        }
    }
    return fmt::format("{} {} from {} {} ttl {}{}",
                       address_text(value_of(destination.dest_address, family), number_of(family)),
                       destination.dest_port,
                       address_text(value_of(destination.source_address, family), number_of(family)),
                       destination.source_port, destination.ttl, mirror);
}

}  // namespace

Sight Run::look() {
    Sight sight;
    for (const auto& source : setup().sources) {
        auto bytes = fmt::format("LIST DTCP/0.7\r\nCsource-ID: {}\r\nSeq: 1\r\n", source.name);
        bytes += "Authentication-Info: " + signature("key-" + source.name, bytes) + "\r\n\r\n";
        const auto replies = replies_of(box_.ask(bytes, source.users.front()), {"key-" + source.name}, why_);
        if (!replies || replies->size() != 1) {
            differ("no answer to a LIST: " + why_);
        }
        sight.lists.push_back(replies->front());
    }
    for (const auto id : box_.installed()) {
        auto& tap = sight.installed[id];
        tap.criterion = text_of(box_.criterion(id).value());
        for (const auto& destination : box_.destinations_of(id)) {
            tap.destinations.push_back(text_of(destination));
        }
        tap.action = std::array{"copy", "redirect", "block"}.at(static_cast<std::size_t>(box_.action_of(id)));
        tap.service = box_.service_of(id);
    }
    return sight;
}

}  // namespace flowtap::test::model
