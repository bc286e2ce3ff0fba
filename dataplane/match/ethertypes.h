// Ethertypes that the parser goes on behind (IANA IEEE 802 numbers).
#pragma once

#include <cstdint>

namespace flowtap::dataplane::match {

inline constexpr std::uint16_t type_ipv4 = 0x0800;
inline constexpr std::uint16_t type_ipv6 = 0x86dd;
inline constexpr std::uint16_t type_vlan = 0x8100;           ///< IEEE 802.1Q customer tag
inline constexpr std::uint16_t type_service_vlan = 0x88a8;   ///< IEEE 802.1ad service tag
inline constexpr std::uint16_t type_mpls = 0x8847;           ///< RFC 3032 section 5, RFC 5332
inline constexpr std::uint16_t type_mpls_upstream = 0x8848;  ///< upstream-assigned labels, formerly multicast
inline constexpr std::uint16_t type_pppoe_session = 0x8864;  ///< RFC 2516 section 4; discovery is no IP

inline constexpr std::uint32_t ethernet_size = 14;
inline constexpr std::uint32_t vlan_size = 4;

constexpr bool is_vlan(std::uint16_t type) {
    return type == type_vlan || type == type_service_vlan;
}

}  // namespace flowtap::dataplane::match
