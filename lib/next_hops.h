// Where the delivery port may send to, by its configuration: the neighbours whose MAC addresses have to be
// known. A neighbour's place in the list is its index in shared memory.
#pragma once

#include "lib/config.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace flowtap::lib {

/// The address lies in the subnet of an address of the delivery port.
bool on_delivery_link(const DeliveryConfig& delivery, const IpAddress& address);

/// The gateways, then the tunnels' remote ends that are on the link themselves; each once. Empty without
/// `interface`.
std::vector<IpAddress> next_hop_addresses(const Config& config);

/// A next hop as one word, which memory holds whole or not at all: bits 8i to 8i+7 are byte i of the MAC
/// address, bit 48 is set. 0: not known.
constexpr std::uint64_t next_hop_word(const MacAddress& mac) {
    std::uint64_t word = std::uint64_t{1} << 48;
    for (std::size_t i = 0; i < mac.size(); ++i) {
        word |= std::uint64_t{mac[i]} << (8 * i);
    }
    return word;
}

constexpr std::optional<MacAddress> next_hop_mac(std::uint64_t word) {
    if (word == 0) {
        return std::nullopt;
    }
    MacAddress mac{};
    for (std::size_t i = 0; i < mac.size(); ++i) {
        mac[i] = static_cast<std::uint8_t>(word >> (8 * i));
    }
    return mac;
}

}  // namespace flowtap::lib
