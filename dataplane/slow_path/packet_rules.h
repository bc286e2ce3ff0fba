// What the slow path does with a frame, by the configuration alone: the security policy between the kernel
// and the delivery port (RFC 4301 section 5). Pure functions of the frame's bytes; nothing in a frame is
// believed before it is checked.
//
// From the port to the kernel goes: ARP; IP for a delivery address, or for the link itself (its link-local
// addresses and multicast groups), unless its source is behind a tunnel, since from there nothing may come in
// clear; ESP for the end of a tunnel of ours is opened instead.
// From the kernel to the port goes: ARP; IP to a prefix behind a tunnel, sealed; IP to a prefix with clear =
// true and to the link itself, as it is; IKE between the two ends of a tunnel, as it is; all of it only from
// an address of the delivery port, so that nothing is routed through this box. Everything else is dropped,
// and counted by cause.
#pragma once

#include "lib/config.h"
#include "lib/counters.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace flowtap::dataplane::slow_path {

using Bytes = std::span<const std::uint8_t>;

/// A frame that came in at the delivery port.
struct Arrival {
    enum class Way : std::uint8_t { kernel, open, drop };

    Way way = Way::drop;
    lib::SlowPathCounter cause = lib::SlowPathCounter::rx_malformed;  ///< of a drop
    std::uint32_t esp_offset = 0;  ///< open: where the ESP header starts in the frame, and its packet's bytes
    std::uint32_t esp_length = 0;
    bool in_udp = false;    ///< open: it came in UDP (RFC 3948)
    lib::IpAddress dest{};  ///< open: the tunnel's local end
};

/// A frame that the kernel sends.
struct Departure {
    enum class Way : std::uint8_t { drop, link, routed, seal };

    Way way = Way::drop;
    lib::SlowPathCounter cause = lib::SlowPathCounter::tx_malformed;  ///< of a drop
    lib::Family family = lib::Family::ipv4;                           ///< routed: whose next hop it goes to
    std::optional<std::uint16_t> tunnel{};  ///< seal: through it; routed: to its remote end
    std::uint32_t length = 0;               ///< seal: bytes of the IP packet behind the Ethernet header
};

class PacketRules {
  public:
    /// The configuration outlives it; `mac` is the delivery port's.
    PacketRules(const lib::Config& config, const lib::MacAddress& mac);

    Arrival arriving(Bytes frame) const;
    Departure departing(Bytes frame) const;
    /// Whether the packet, a whole IP packet, may come out of the tunnel: from a prefix that is behind it, to
    /// a delivery address.
    bool may_come_out(Bytes packet, std::uint16_t tunnel) const;

  private:
    struct Packet;

    static std::optional<Packet> parse(lib::Family family, Bytes bytes);
    const lib::RouteConfig* route_of(const lib::IpAddress& address) const;
    bool is_own(const lib::IpAddress& address) const;
    bool is_local_end(const lib::IpAddress& address) const;
    std::optional<std::uint16_t> ike_tunnel(const Packet& packet, bool arriving) const;
    Arrival arriving_packet(const Packet& packet) const;

    const lib::Config& config_;
    lib::MacAddress mac_;
    std::vector<lib::RouteConfig> routes_;  ///< by address; they do not overlap
};

}  // namespace flowtap::dataplane::slow_path
