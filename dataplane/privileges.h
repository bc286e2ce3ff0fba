// What this process may do, and giving it up.
//
// Capabilities are needed to open devices, not to use them: once the ports run, none is kept, but for the one
// that the manager's thread needs where it takes links down. Linux keeps them by thread, so every thread
// gives up its own.
#pragma once

#include "dataplane/device.h"
#include "dataplane/failure.h"
#include "lib/config.h"

#include <sys/capability.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace flowtap::dataplane {

/// Names every capability that the devices need and this process lacks, with the port that needs it: exit
/// code 3.
Result<void> require_capabilities(const lib::Config& config, std::span<const Device> devices);

/// Before any thread: no new privileges by exec, no core file (it would hold traffic and keys), and as much
/// lockable memory as keys may take, where the process may still raise it.
Result<void> restrict_process();

/// In every thread of a running EAL: no capability is left, and no other process of this user may look
/// inside. `keep`, if any, is left to the calling thread, which must have it. Workers must be idle lcores.
/// Fails when a thread still has another one afterwards.
Result<void> drop_capabilities(std::optional<cap_value_t> keep);

}  // namespace flowtap::dataplane
