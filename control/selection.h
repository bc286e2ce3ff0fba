// Which taps a DELETE, REFRESH, ENABLE or DISABLE means (dtcp.md section 5).
#pragma once

#include "control/tap_table.h"
#include "lib/dtcp/requests.h"

#include <expected>
#include <vector>

namespace flowtap::control {

struct Selection {
    std::vector<Tap*> taps;  ///< live, in the order of their IDs
    bool busy = false;       ///< one of them is being changed or removed for somebody else: ask again later
};

/// Taps that are not acknowledged yet, or over, do not exist. 431 with the line: a Criteria-ID that was
/// written by itself does not. Static taps are passed over unless the request includes them.
std::expected<Selection, lib::dtcp::Failure> select_taps(TapTable& taps, SourceIndex source,
                                                         const lib::dtcp::Selector& selector,
                                                         bool including_static);

}  // namespace flowtap::control
