// Which worker polls which receive queue and sends through which transmit queue. A pure function of the
// configuration and of what the devices can do.
//
// Invariant: a queue belongs to one worker, so none needs a lock.
#pragma once

#include "lib/config.h"

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

namespace flowtap::dataplane {

/// How many queues of a port: what the device can do, or what it is given. All zero: the port is not used.
struct QueueCount {
    std::uint16_t rx = 0;
    std::uint16_t tx = 0;

    bool operator==(const QueueCount&) const = default;
};

/// One direction of a wire, as one worker serves it. Ports are indices in the configuration.
struct Lane {
    std::uint16_t rx_port = 0;
    std::uint16_t rx_queue = 0;
    std::uint16_t tx_port = 0;
    std::uint16_t tx_queue = 0;

    bool operator==(const Lane&) const = default;
};

struct QueuePlan {
    std::vector<QueueCount> ports;
    std::vector<std::vector<Lane>> workers;  ///< worker i delivers copies through transmit queue i
};

/// With an interface for the kernel, the slow path has the delivery port's last transmit queue and all its
/// receive queues.
/// A direction is shared by all workers, a queue pair each, where its devices have the queues; otherwise one
/// worker serves it, and directions go round the workers. The error names the port.
std::expected<QueuePlan, std::string> plan_queues(const lib::Config& config,
                                                  std::span<const QueueCount> limits);

}  // namespace flowtap::dataplane
