// The shim between a copy's UDP header and the original packet: which one it is, and what it says.
//
// Juniper's mirror header and ours are known by their first bits, and so is that there is none. Cisco's and
// Nokia's are not (lib/shims.h): who receives these says so, for all copies or for those to one UDP port.
#pragma once

#include "lib/records.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>

namespace flowtap::tools::receive {

struct ShimFields {
    lib::Shim shim = lib::Shim::raw;
    std::size_t size = 0;           ///< bytes in front of the original packet
    std::uint32_t id = 0;           ///< intercept id, content connection id, or Criteria-ID
    std::uint32_t session = 0;      ///< Juniper's and Nokia's
    std::optional<bool> to_target;  ///< Nokia's and ours: whether it goes to the target
    // Ours alone, as in lib::FlowtapShim.
    std::uint8_t flags = 0;
    std::uint64_t sequence = 0;
    std::uint64_t arrival = 0;
    std::uint32_t dropped = 0;
};

/// "raw", "jmirror", "cisco", "nokia-l3", "flowtap".
std::string_view name_of(lib::Shim shim);
std::optional<lib::Shim> find_shim(std::string_view name);

/// Which shim copies have. Unset: what their first bits say.
struct ShimRules {
    std::optional<lib::Shim> any;
    std::map<std::uint16_t, lib::Shim> ports;  ///< by UDP destination port; before `any`

    std::optional<lib::Shim> at(std::uint16_t port) const;
    /// Adds "SHIM" or "PORT=SHIM"; false: it is neither.
    bool add(std::string_view text);
};

/// Of a UDP payload; unset: it does not begin with this shim.
std::optional<ShimFields> parse_shim(std::span<const std::uint8_t> payload, std::optional<lib::Shim> agreed);

}  // namespace flowtap::tools::receive
