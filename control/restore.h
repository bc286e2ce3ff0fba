// From the registry that an earlier control process left, the taps that may go on.
#pragma once

#include "control/registry.h"
#include "control/sources.h"
#include "control/tasking.h"
#include "lib/config.h"

#include <cstddef>
#include <vector>

namespace flowtap::control {

struct Restored {
    std::vector<RestoredTap> taps;
    std::size_t rejected = 0;  ///< entries that were removed, damaged ones included
};

/// Each entry's message is checked again as if it came now: signature, form, and what the configuration
/// allows. Whoever wrote to the registry's memory can so take a tap away, but make none. What fails is
/// removed.
Restored restore(Registry& registry, Sources& sources, const lib::Config& config);

}  // namespace flowtap::control
