// The Flow-Tap parameters of an ADD (dtcp.md section 7). Internal to the codec.
#pragma once

#include "lib/dtcp/add.h"

#include <array>
#include <expected>

namespace flowtap::lib::dtcp {

constexpr std::array filter_elements{Name::source_address, Name::dest_address, Name::protocol,
                                     Name::source_port,    Name::dest_port,    Name::icmp_type,
                                     Name::icmp_code};

/// Fills what X-JTap-*, X-MD-* and the triggers say; `add` has its content destinations and criterion
/// already.
std::expected<void, Failure> parse_jtap(const Request& request, AddRequest& add);

}  // namespace flowtap::lib::dtcp
