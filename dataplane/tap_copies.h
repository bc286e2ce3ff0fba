// What the tap table's payload stands for: where a tap's copies go, resolved when the tap was installed.
#pragma once

#include "dataplane/encapsulation.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/own_flows.h"
#include "lib/config.h"
#include "lib/records.h"

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace flowtap::dataplane {

enum class RouteKind : std::uint8_t {
    none,    ///< no delivery route: the copy is dropped and counted
    clear,   ///< the operator wrote clear = true
    tunnel,  ///< sealed, or dropped where the tunnel has no SA
};

struct CopyTarget {
    Encapsulation encapsulation;
    RouteKind route = RouteKind::none;
    std::uint16_t tunnel = 0;  ///< index in the configuration
};

/// Owned by the manager, which frees it when no worker can see the tap any more; constant meanwhile.
struct TapCopies {
    lib::TapId id{};
    std::vector<CopyTarget> targets;
    std::vector<FlowKey> flows;  ///< of the encapsulations, for OwnFlows
};

/// The longest prefix that holds the address decides.
CopyTarget resolve(const lib::TapDestination& destination, std::span<const lib::RouteConfig> routes);

FlowKey flow_of(const lib::TapDestination& destination);

inline match::Payload payload_of(const TapCopies& copies) {
    return match::Payload{std::bit_cast<std::uint64_t>(&copies)};
}
inline const TapCopies& copies_of(match::Payload payload) {
    return *std::bit_cast<const TapCopies*>(payload);
}

}  // namespace flowtap::dataplane
