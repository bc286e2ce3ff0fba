// What the terms of a tap (registry_layout.h) mean: from timeouts as DTCP has them, and back. Pure functions.
#pragma once

#include "control/clock.h"
#include "control/registry_layout.h"
#include "lib/dtcp/add.h"
#include "lib/records.h"

#include <cstdint>
#include <optional>

namespace flowtap::control {

/// Of a new tap. Timeouts of zero are none.
TapTerms terms_of(const lib::dtcp::Timeouts& timeouts, Now now);

/// Each timeout that is given takes the place of what remains of it, from now on; zero takes it away.
/// Nothing: no timeout would remain, which a REFRESH must not bring about (433). `totals`: what the tap has
/// counted.
std::optional<TapTerms> refreshed(const TapTerms& terms, const lib::dtcp::Timeouts& given,
                                  const TapTotals& totals, Now now);

/// As ADD or REFRESH said last.
lib::dtcp::Timeouts specified(const TapTerms& terms);

/// `active`: TapStatistics::active. Seconds are rounded up: 0 only when nothing is left.
lib::dtcp::Timeouts remaining(const TapTerms& terms, std::uint64_t active, const TapTotals& totals,
                              std::uint64_t boot);

/// When the tap is over by time, CLOCK_BOOTTIME; UINT64_MAX: never.
std::uint64_t deadline(const TapTerms& terms, std::uint64_t active);
/// The same by Timeout-Total alone.
std::uint64_t total_end(const TapTerms& terms);

/// What the dataplane is told. `before`: what the tap had counted when it came into its slot.
lib::TapService service_of(const TapTerms& terms, const TapTotals& before);

}  // namespace flowtap::control
