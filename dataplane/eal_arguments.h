// The EAL's arguments, derived from the configuration: cores, memory, devices. No DPDK here: text from
// values.
#pragma once

#include "dataplane/device.h"
#include "dataplane/failure.h"
#include "lib/config.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace flowtap::dataplane {

/// What the arguments depend on besides the configuration.
struct Machine {
    std::vector<std::uint32_t> cores;  ///< that this process may run on, ascending
    std::uint64_t free_huge_mib = 0;   ///< free huge pages of every size
    bool share_cores = false;          ///< the manager may do without a core of its own
};

/// Reads it from sched_getaffinity and /sys/kernel/mm/hugepages.
Machine this_machine();

/// The core of the manager thread: the operator's, or the first that is no worker's; a worker's only where
/// the machine has a single core, or cores are to be shared.
Result<std::uint32_t> manager_core(const lib::Config& config, const Machine& machine);

/// argv for rte_eal_init, the program's name first. The main lcore is 0 (the manager), worker i is lcore i
/// + 1. `unique` goes into the file prefix. Virtual devices are not in it: they are probed one by one after
/// the EAL has started, so that a failure names its port.
Result<std::vector<std::string>> eal_arguments(const lib::Config& config, std::span<const Device> devices,
                                               const Machine& machine, std::uint64_t unique);

}  // namespace flowtap::dataplane
