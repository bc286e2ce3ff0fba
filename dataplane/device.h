// What the text of a port's `device` means: which driver, under which unique name, with which arguments, and
// what the process needs to open it. Pure text work: nothing here touches a device.
#pragma once

#include "lib/config.h"

#include <sys/capability.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::dataplane {

struct Device {
    bool pci = false;
    std::string driver;     ///< of a virtual device ("net_pcap"); empty for PCI
    std::string name;       ///< DPDK's name: the full PCI address, or the driver with the port's index
    std::string arguments;  ///< "key=value,..." after the name
    std::string interface;  ///< the kernel interface that it stands on, which must exist; empty: none

    /// What DPDK is given: name and arguments.
    std::string text() const;
    /// The value of the argument; nothing where it was not given.
    std::optional<std::string_view> argument(std::string_view key) const;
};

/// `index` makes the names of virtual devices unique: the operator need not number them.
/// The error says what would be right.
std::expected<Device, std::string> parse_device(std::string_view text, std::size_t index);

/// Adds what the operator left out and af_packet needs: ring frames that hold `frame` bytes (without FCS, and
/// one VLAN tag more, which the kernel hands over apart), `queues` socket pairs, `descriptors` ring entries.
/// A frame size of the operator's that is too small is an error: the kernel would cut frames, silently. Other
/// drivers: no change.
std::expected<Device, std::string> complete(Device device, std::uint32_t frame, std::size_t queues,
                                            std::uint32_t descriptors);

/// Its receive queues cannot be left out: the driver spreads frames over all that it has.
bool receives_on_all_queues(const Device& device);

/// The network interface whose frames the kernel gets as well as the driver; empty: the driver has them
/// alone.
std::string shared_interface(const Device& device);

/// Bytes of one af_packet ring slot, which the receive buffers must hold too; 0 for other drivers.
std::uint32_t ring_slot(const Device& device);

/// Capabilities without which the device cannot be opened. `memory_bytes`: what a PCI device has to map.
std::vector<cap_value_t> required_capabilities(const Device& device, std::uint64_t memory_bytes);

}  // namespace flowtap::dataplane
