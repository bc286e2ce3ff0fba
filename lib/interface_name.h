// Names of interfaces, as DTCP and the configuration use them: NAME or NAME.UNIT, where a missing unit is 0
// (dtcp.md section 7).
#pragma once

#include "lib/config.h"
#include "lib/criterion.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace flowtap::lib {

/// Where the frames of an interface come in. Nothing: no such interface is configured. In this order: an
/// [[interface]] with a VLAN of its own and that name (the unit, if it has one, is part of the name); an
/// [[interface]] without, or a [[port]], whose unit is the VLAN id and unit 0 means untagged.
std::optional<InterfaceTerm> find_interface(const Config& config, std::string_view name);

/// The same for a name that has been taken apart.
std::optional<InterfaceTerm> find_interface(const Config& config, std::string_view name, std::uint32_t unit);

/// The port at the other end of the port's wire: what leaves by a port comes in there. Nothing: the port is
/// in no wire.
std::optional<std::uint16_t> other_end(const Config& config, std::uint16_t port);

/// The part before a unit, and the unit; nothing: the name has none.
std::optional<std::pair<std::string_view, std::uint32_t>> split_unit(std::string_view name);

}  // namespace flowtap::lib
