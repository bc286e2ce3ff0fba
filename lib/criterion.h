// What one tap matches: the filter elements of a DTCP ADD, compiled to inclusive ranges.
//
// A list matches a value when (it has no positive term, or a positive term matches) and no negated term
// matches (draft-cavuto-dtcp-03). An empty list is a wildcard. Ports apply to TCP, UDP, SCTP, UDP-Lite and
// DCCP, ICMP type and code to ICMP and ICMPv6: a criterion that names them matches no other protocol, and no
// packet whose header does not reach them.
#pragma once

#include "lib/address.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace flowtap::lib {

/// first <= last, both of the criterion's family, both included.
struct AddressTerm {
    IpAddress first;
    IpAddress last;
    bool negated = false;

    bool operator==(const AddressTerm&) const = default;
};

/// first <= last, host byte order, both included.
struct NumberTerm {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    bool negated = false;

    bool operator==(const NumberTerm&) const = default;
};

/// Where a frame comes in: a port, and the VLAN id of its outermost tag.
struct InterfaceTerm {
    std::uint16_t port = 0;  ///< index in the configuration's ports
    std::uint16_t vlan = 0;  ///< 1..4094; 0: no tag, or a priority tag; any_vlan: whatever tags there are

    bool operator==(const InterfaceTerm&) const = default;
};
inline constexpr std::uint16_t any_vlan = 0xffff;

using InterfaceList = std::vector<InterfaceTerm>;
using AddressList = std::vector<AddressTerm>;
using NumberList = std::vector<NumberTerm>;

/// At most this many terms in all lists of one criterion; more is refused (432) before anything is allocated.
inline constexpr std::size_t max_terms = 1024;

/// At most this many interfaces of one criterion, besides its terms.
inline constexpr std::size_t max_interface_terms = 256;

struct Criterion {
    Family family = Family::ipv4;
    AddressList source_address;
    AddressList dest_address;
    NumberList protocol;
    NumberList source_port;
    NumberList dest_port;
    NumberList icmp_type;
    NumberList icmp_code;
    /// Source or destination is this host (a subscriber's tap), besides what the lists say.
    std::optional<IpAddress> either_address;
    InterfaceList interfaces;  ///< the frame comes in at one of them; empty: anywhere
    /// Whole layer-2 frames, IP or not, of the interfaces: these are not empty, and nothing else is named.
    bool layer2 = false;

    bool operator==(const Criterion&) const = default;
};

/// Terms in all lists together, the host of either_address included, without interfaces.
std::size_t term_count(const Criterion& criterion);

}  // namespace flowtap::lib
