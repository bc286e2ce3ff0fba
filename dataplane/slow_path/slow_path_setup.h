// From a configuration with an interface for the kernel to a slow path that is ready to start.
#pragma once

#include "dataplane/failure.h"
#include "dataplane/slow_path/slow_path.h"

#include <memory>

namespace flowtap::dataplane::slow_path {

/// Makes the kernel's interface with all that belongs to it (CAP_NET_ADMIN), and what the thread works with.
/// `shared`: as shared_interface() has it, of the delivery port's device.
Result<std::unique_ptr<SlowPath>> create_slow_path(const SlowPath::Parts& parts, const std::string& shared);

/// Buffers that the slow path needs for queues of so many descriptors: full ones, both ways, and what is at
/// hand.
std::uint32_t buffer_count(std::uint16_t rx_queues, std::uint32_t descriptors);

}  // namespace flowtap::dataplane::slow_path
