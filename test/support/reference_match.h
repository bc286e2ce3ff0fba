// The slow, plain judge of the frame parser and the tap table: what is in a frame, and does a criterion match
// it? Written from the documents (lib/criterion.h, design.md, the RFCs), for clarity only; shares no code
// with dataplane/match.
#pragma once

#include "lib/address.h"
#include "lib/criterion.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace flowtap::test {

/// What is known of a packet. What has no value is not in the frame, or lies beyond what is looked at.
struct PacketFacts {
    lib::IpAddress source;
    lib::IpAddress dest;
    std::optional<std::uint8_t> protocol;
    std::optional<std::pair<std::uint16_t, std::uint16_t>> ports;  ///< source, destination
    std::optional<std::pair<std::uint8_t, std::uint8_t>> icmp;     ///< type, code
    std::size_t l3_offset = 0;
    std::size_t l3_length = 0;

    bool operator==(const PacketFacts&) const = default;
};

enum class Outcome {
    matched_on_all,
    matched_without_ports,  ///< a protocol with ports or ICMP fields, which are not in the frame
    matched_on_addresses,   ///< extension headers beyond the caps or the packet
    truncated,
    too_many_vlans,
    too_many_labels,
    not_ip,
    bad_pppoe,
    bad_ipv4,
    bad_ipv6,
};

struct Reading {
    Outcome outcome = Outcome::not_ip;
    std::optional<PacketFacts> facts;  ///< set for the matched_ outcomes

    bool operator==(const Reading&) const = default;
};

Reading reference_parse(std::span<const std::uint8_t> frame);

/// Of the outermost tag; 0 without one.
std::uint16_t reference_vlan(std::span<const std::uint8_t> frame);

/// But for its interfaces.
bool reference_matches(const lib::Criterion& criterion, const PacketFacts& facts);

/// A frame that came in at that port, with that VLAN id; without facts when it is not to be matched as a
/// packet.
bool reference_matches(const lib::Criterion& criterion, const std::optional<PacketFacts>& facts,
                       const lib::InterfaceTerm& arrival);

/// For messages of failed checks.
std::string to_string(const PacketFacts& facts);
std::string to_string(const lib::Criterion& criterion);

}  // namespace flowtap::test
