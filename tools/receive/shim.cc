#include "tools/receive/shim.h"

#include "lib/shims.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace flowtap::tools::receive {
namespace {

using lib::Shim;
namespace shim_flag = lib::shim_flag;

constexpr std::array<std::pair<std::string_view, Shim>, 5> names{{{"raw", Shim::raw},
                                                                  {"jmirror", Shim::jmirror},
                                                                  {"cisco", Shim::cisco},
                                                                  {"nokia-l3", Shim::nokia_l3},
                                                                  {"flowtap", Shim::flowtap}}};

Shim shim_by_bits(std::span<const std::uint8_t> payload) {
    if (payload.empty()) {
        return Shim::raw;
    }
    switch (payload[0] >> 6) {
        case 0:
            return Shim::jmirror;
        case 3:
            return Shim::flowtap;
        default:
            return Shim::raw;
    }
}

std::optional<ShimFields> parse_ours(std::span<const std::uint8_t> payload, ShimFields fields) {
    const auto shim = lib::read_shim<lib::FlowtapShim>(payload.data());
    if (shim.magic.value() != lib::FlowtapShim::magic_value ||
        shim.version != lib::FlowtapShim::version_value) {
        return std::nullopt;
    }
    fields.id = shim.criteria_id.value();
    fields.to_target = (shim.flags & shim_flag::to_target) != 0;
    fields.flags = shim.flags;
    fields.sequence = shim.sequence.value();
    fields.arrival = shim.arrival.value();
    fields.dropped = shim.dropped.value();
    return fields;
}

}  // namespace

std::string_view name_of(Shim shim) {
    const auto* const found = std::ranges::find(names, shim, &decltype(names)::value_type::second);
    return found != names.end() ? found->first : "unknown";
}

std::optional<Shim> find_shim(std::string_view name) {
    const auto* const found = std::ranges::find(names, name, &decltype(names)::value_type::first);
    return found != names.end() ? std::optional(found->second) : std::nullopt;
}

std::optional<Shim> ShimRules::at(std::uint16_t port) const {
    const auto found = ports.find(port);
    return found != ports.end() ? std::optional(found->second) : any;
}

bool ShimRules::add(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) {
        any = find_shim(text);
        return any.has_value();
    }
    std::uint16_t port = 0;
    const char* const end = text.data() + equals;
    const auto shim = find_shim(text.substr(equals + 1));
    const auto [read, error] = std::from_chars(text.data(), end, port);
    if (read != end || error != std::errc{} || port == 0 || !shim) {
        return false;
    }
    ports[port] = *shim;
    return true;
}

std::optional<ShimFields> parse_shim(std::span<const std::uint8_t> payload, std::optional<Shim> agreed) {
    ShimFields fields;
    fields.shim = agreed.value_or(shim_by_bits(payload));
    fields.size = lib::shim_size(fields.shim);
    if (payload.size() < fields.size) {
        return std::nullopt;
    }
    constexpr std::uint32_t form = 0xc000'0000;
    switch (fields.shim) {
        case Shim::raw:
            return fields;
        case Shim::cisco:
            fields.id = lib::read_shim<lib::CiscoShim>(payload.data()).connection_id.value();
            return fields;
        case Shim::jmirror:
        case Shim::nokia_l3: {
            const auto shim = lib::read_shim<lib::NokiaShim>(payload.data());
            const std::uint32_t first = shim.intercept.value();
            const bool nokia = fields.shim == Shim::nokia_l3;
            if ((first & form) != (nokia ? lib::NokiaShim::form : 0)) {
                return std::nullopt;
            }
            fields.id = first & (nokia ? lib::NokiaShim::largest_id : ~form);
            fields.session = shim.session.value();
            if (nokia) {
                fields.to_target = (first & lib::NokiaShim::to_target) != 0;
            }
            return fields;
        }
        case Shim::flowtap:
            return parse_ours(payload, fields);
    }
    return std::nullopt;
}

}  // namespace flowtap::tools::receive
