// What the command line shows: one JSON object a view. No view holds data of a target: no address, criterion,
// Csource-ID, Cdest-ID or Criteria-ID, and no counter of a single tap.
#pragma once

#include "control/associations.h"
#include "control/dataplane_link.h"
#include "control/service.h"
#include "control/worker_load.h"
#include "lib/config.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string_view>

namespace flowtap::control {

/// Where views look; read only.
struct ViewSources {
    const lib::Config& config;
    const Tasking& tasking;
    Service& service;
    const Associations& associations;
    const DataplaneLink& link;
    const WorkerLoad& load;
    std::uint64_t started = 0;  ///< CLOCK_BOOTTIME, ns
};

nlohmann::json health_view(const ViewSources& sources, Now now);
nlohmann::json ports_view(const ViewSources& sources);
nlohmann::json workers_view(const ViewSources& sources);
nlohmann::json delivery_view(const ViewSources& sources);

/// One line of the control socket's protocol, without its line end: {"command":"show","what":NAME}. The
/// answer is
/// {"ok":true,"view":...} or {"ok":false,"error":"..."}, whatever the line holds.
nlohmann::json answer_command(const ViewSources& sources, std::string_view line, Now now);

}  // namespace flowtap::control
