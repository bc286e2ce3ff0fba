// What an ADD says of places and subscribers, as a criterion of the dataplane: VRF, interfaces, whole frames,
// subscriber triggers (dtcp.md section 7).
//
// Pure functions of the request and the configuration.
#pragma once

#include "lib/config.h"
#include "lib/criterion.h"
#include "lib/dtcp/add.h"

#include <expected>

namespace flowtap::control {

/// X-IP-Addr means what comes from the address, and what goes to it. 901 with the line: a VRF or interface
/// that is not configured. 432: X-Interface-Id together with a VRF or an interface, or more terms than a
/// criterion may have.
std::expected<lib::Criterion, lib::dtcp::Failure> conditions(const lib::dtcp::Request& request,
                                                             const lib::dtcp::AddRequest& add,
                                                             const lib::Config& config);

}  // namespace flowtap::control
