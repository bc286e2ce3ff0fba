// What the dataplane asks the kernel about a network interface that one of its devices stands on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace flowtap::dataplane {

/// The kernel's index of the interface in this network namespace; 0 if there is none of that name.
unsigned interface_index(const std::string& name);

/// Largest layer-3 packet of the interface.
std::optional<std::uint32_t> interface_mtu(const std::string& name);

/// Raises the interface's MTU to at least `mtu` (CAP_NET_ADMIN); false, with errno, if the kernel refuses.
bool raise_interface_mtu(const std::string& name, std::uint32_t mtu);

/// Whether the interface is up and has a carrier. Not its operational state, which the kernel tells later.
bool interface_has_link(const std::string& name);

/// Sets the interface up or down (CAP_NET_ADMIN), and nothing else of it; false, with errno, if the kernel
/// refuses.
bool set_interface_up(const std::string& name, bool up);

}  // namespace flowtap::dataplane
