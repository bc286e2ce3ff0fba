// Which ids the shims of a tap's copies carry, in lib::TapDestination's form.
//
// X-MD-Intercept-Id is what the mediation device knows a tap by: where an ADD has one, Juniper's, Cisco's and
// Nokia's shims carry it. Where it has none, Cisco's and Nokia's carry the Criteria-ID, which the ADD's
// answer says. Ours carries the Criteria-ID always: its sequence numbers are those of one tap, and several
// taps may have one intercept id.
#pragma once

#include "lib/dtcp/add.h"
#include "lib/records.h"

#include <cstdint>
#include <optional>
#include <span>

namespace flowtap::control {

struct InterceptIds {
    std::uint32_t intercept = 0;  ///< 30 bits
    std::uint32_t session = 0;
};

/// The form of 4 bytes leaves the session id to the box, which has no accounting sessions: 0. Nothing: what
/// stands in the two bits of the form is no form.
std::optional<InterceptIds> intercept_ids(const lib::dtcp::InterceptId& given);

/// Of a destination whose shim is known: `raw` becomes `jmirror`. False: the shim has not as many bits.
bool give_intercept_ids(lib::TapDestination& destination, const InterceptIds& ids);

/// For the taps without X-MD-Intercept-Id: what their shims carry instead.
void give_criteria_id(std::span<lib::TapDestination> destinations, lib::TapId id, bool has_intercept_id);

}  // namespace flowtap::control
