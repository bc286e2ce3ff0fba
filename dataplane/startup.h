// From a configuration to a running dataplane, and back to nothing: the order in which things are made is the
// order in which they need each other.
#pragma once

#include "dataplane/failure.h"
#include "dataplane/match/simd.h"
#include "lib/config.h"

namespace flowtap::dataplane {

/// What the command line says beside the configuration.
struct RunOptions {
    match::Simd simd = match::Simd{};
    bool share_cores = false;  ///< as in Machine
};

/// Runs until a stop signal. Fails with the reason that it could not start; everything is released on return.
Result<void> run(const lib::Config& config, const RunOptions& options);

}  // namespace flowtap::dataplane
