// What the command line shows of a tunnel and its security associations.
#pragma once

#include "control/views.h"

#include <nlohmann/json.hpp>

#include <cstdint>

namespace flowtap::control {

/// The tunnel as its present SA makes it, and all its SAs in the order of their use. `tunnel`: index in the
/// configuration.
nlohmann::json tunnel_view(const ViewSources& sources, std::uint16_t tunnel);

}  // namespace flowtap::control
