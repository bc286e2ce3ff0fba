#include "dataplane/slow_path/packet_rules.h"

#include "crypto/big_endian.h"
#include "crypto/esp.h"
#include "dataplane/match/ethertypes.h"
#include "lib/next_hops.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace flowtap::dataplane::slow_path {
namespace {

using crypto::load_big_endian;

using match::ethernet_size;

constexpr std::uint16_t type_arp = 0x0806;
constexpr std::uint8_t protocol_udp = 17;
constexpr auto protocol_esp = static_cast<std::uint8_t>(crypto::NextHeader::esp);
constexpr std::uint16_t port_ike = 500;  // and crypto::udp_port, with ESP (RFC 3948)

/// Groups that no router forwards (RFC 5771 section 4, RFC 4291 section 2.7).
constexpr lib::Prefix link_groups4{{lib::Family::ipv4, {224}}, 24};
constexpr lib::Prefix link_groups6{{lib::Family::ipv6, {0xff, 0x02}}, 16};
constexpr lib::Prefix link_local6{{lib::Family::ipv6, {0xfe, 0x80}}, 10};

/// The link itself, besides the subnets that the operator gave it.
bool is_link_scope(const lib::IpAddress& address) {
    return lib::contains(link_groups4, address) || lib::contains(link_groups6, address) ||
           lib::contains(link_local6, address);
}

bool is_unspecified(const lib::IpAddress& address) {
    return std::ranges::all_of(address.bytes, [](std::uint8_t byte) { return byte == 0; });
}

std::optional<lib::Family> family_of(std::uint16_t type) {
    return type == match::type_ipv4   ? std::optional{lib::Family::ipv4}
           : type == match::type_ipv6 ? std::optional{lib::Family::ipv6}
                                      : std::nullopt;
}

lib::IpAddress address_at(lib::Family family, const std::uint8_t* place) {
    lib::IpAddress address{.family = family};
    std::copy_n(place, lib::address_size(family), address.bytes.begin());
    return address;
}

Arrival dropped(lib::SlowPathCounter cause) {
    return {.way = Arrival::Way::drop, .cause = cause};
}

Departure undelivered(lib::SlowPathCounter cause) {
    return {.way = Departure::Way::drop, .cause = cause};
}

}  // namespace

/// What the rules ask of an IP packet.
struct PacketRules::Packet {
    lib::IpAddress source;
    lib::IpAddress dest;
    std::uint8_t protocol = 0;  ///< IPv6: the fixed header's next header
    bool fragment = false;      ///< IPv4
    Bytes payload{};            ///< behind the header, by the packet's own length
    std::uint32_t offset = 0;   ///< of the payload in the packet
    std::uint32_t length = 0;   ///< of the packet
};

PacketRules::PacketRules(const lib::Config& config, const lib::MacAddress& mac)
    : config_(config), mac_(mac), routes_(config.routes) {
    std::ranges::sort(routes_, {}, &lib::RouteConfig::prefix);
}

std::optional<PacketRules::Packet> PacketRules::parse(lib::Family family, Bytes bytes) {
    std::size_t header = crypto::ipv6_header_size;
    std::size_t length = 0;
    Packet packet;
    if (family == lib::Family::ipv4) {
        if (bytes.size() < crypto::ipv4_header_size || bytes[0] >> 4 != 4) {
            return std::nullopt;
        }
        header = std::size_t{4} * (bytes[0] & 0x0fU);
        length = load_big_endian<std::uint16_t>(bytes.data() + 2);
        constexpr std::uint16_t more_or_offset = 0x3fff;
        packet = {.source = address_at(family, bytes.data() + 12),
                  .dest = address_at(family, bytes.data() + 16),
                  .protocol = bytes[9],
                  .fragment = (load_big_endian<std::uint16_t>(bytes.data() + 6) & more_or_offset) != 0};
        if (header < crypto::ipv4_header_size) {
            return std::nullopt;
        }
    } else {
        if (bytes.size() < header || bytes[0] >> 4 != 6) {
            return std::nullopt;
        }
        length = header + load_big_endian<std::uint16_t>(bytes.data() + 4);
        packet = {.source = address_at(family, bytes.data() + 8),
                  .dest = address_at(family, bytes.data() + 24),
                  .protocol = bytes[6]};
    }
    if (length < header || length > bytes.size()) {
        return std::nullopt;
    }
    packet.payload = bytes.subspan(header, length - header);
    packet.offset = static_cast<std::uint32_t>(header);
    packet.length = static_cast<std::uint32_t>(length);
    return packet;
}

const lib::RouteConfig* PacketRules::route_of(const lib::IpAddress& address) const {
    // Of prefixes that do not overlap, only the last one that begins at or before the address can hold it.
    const auto after = std::ranges::upper_bound(
        routes_, address, {}, [](const lib::RouteConfig& route) { return route.prefix.address; });
    if (after == routes_.begin()) {
        return nullptr;
    }
    const lib::RouteConfig& route = *std::prev(after);
    return lib::contains(route.prefix, address) ? &route : nullptr;
}

bool PacketRules::is_own(const lib::IpAddress& address) const {
    return std::ranges::find(config_.delivery.addresses, address, &lib::InterfaceAddress::address) !=
           config_.delivery.addresses.end();
}

bool PacketRules::is_local_end(const lib::IpAddress& address) const {
    return std::ranges::find(config_.tunnels, address, &lib::TunnelConfig::local) != config_.tunnels.end();
}

/// The tunnel whose two ends speak IKE with one another in this packet: it sets up what everything else is
/// sealed with.
std::optional<std::uint16_t> PacketRules::ike_tunnel(const Packet& packet, bool arriving) const {
    if (packet.protocol != protocol_udp || packet.fragment ||
        packet.payload.size() < crypto::udp_header_size) {
        return std::nullopt;
    }
    const auto port = load_big_endian<std::uint16_t>(packet.payload.data() + 2);
    if (port != port_ike && port != crypto::udp_port) {
        return std::nullopt;
    }
    const lib::IpAddress& local = arriving ? packet.dest : packet.source;
    const lib::IpAddress& remote = arriving ? packet.source : packet.dest;
    for (std::size_t i = 0; i < config_.tunnels.size(); ++i) {
        if (config_.tunnels[i].local == local && config_.tunnels[i].remote == remote) {
            return static_cast<std::uint16_t>(i);
        }
    }
    return std::nullopt;
}

Arrival PacketRules::arriving(Bytes frame) const {
    using enum lib::SlowPathCounter;
    if (frame.size() < ethernet_size) {
        return dropped(rx_malformed);
    }
    const bool group = (frame[0] & 1U) != 0;
    if (!group && !std::ranges::equal(frame.first(mac_.size()), mac_)) {
        return dropped(rx_other_host);
    }
    const auto type = load_big_endian<std::uint16_t>(frame.data() + 12);
    if (type == type_arp) {
        return {.way = Arrival::Way::kernel};
    }
    const auto family = family_of(type);
    if (!family) {
        return dropped(rx_other_protocol);
    }
    const auto packet = parse(*family, frame.subspan(ethernet_size));
    return packet ? arriving_packet(*packet) : dropped(rx_malformed);
}

Arrival PacketRules::arriving_packet(const Packet& packet) const {
    using enum lib::SlowPathCounter;
    const auto esp_at = [&](std::size_t offset) {
        return Arrival{.way = Arrival::Way::open,
                       .esp_offset = static_cast<std::uint32_t>(ethernet_size + packet.offset + offset),
                       .esp_length = static_cast<std::uint32_t>(packet.payload.size() - offset),
                       .in_udp = offset != 0,
                       .dest = packet.dest};
    };
    if (is_local_end(packet.dest)) {
        if (packet.protocol == protocol_esp) {
            return packet.fragment ? dropped(esp_refused_malformed) : esp_at(0);
        }
        // ESP in UDP: not the four zero bytes that IKE starts with there, nor a keepalive of one byte.
        const bool nat_traversal =
            packet.protocol == protocol_udp && !packet.fragment &&
            packet.payload.size() >= crypto::udp_header_size + crypto::esp_header_size &&
            load_big_endian<std::uint16_t>(packet.payload.data() + 2) == crypto::udp_port;
        if (nat_traversal &&
            load_big_endian<std::uint32_t>(packet.payload.data() + crypto::udp_header_size) != 0) {
            return esp_at(crypto::udp_header_size);
        }
    }
    if (!is_own(packet.dest) && !is_link_scope(packet.dest)) {
        return dropped(rx_not_ours);
    }
    if (const auto* route = route_of(packet.source);
        route != nullptr && route->tunnel && !ike_tunnel(packet, true)) {
        return dropped(rx_unprotected);
    }
    return {.way = Arrival::Way::kernel};
}

Departure PacketRules::departing(Bytes frame) const {
    using enum lib::SlowPathCounter;
    if (frame.size() < ethernet_size) {
        return undelivered(tx_malformed);
    }
    const auto type = load_big_endian<std::uint16_t>(frame.data() + 12);
    if (type == type_arp) {
        return {.way = Departure::Way::link};
    }
    const auto family = family_of(type);
    if (!family) {
        return undelivered(tx_other_protocol);
    }
    const auto packet = parse(*family, frame.subspan(ethernet_size));
    if (!packet) {
        return undelivered(tx_malformed);
    }
    if (!is_own(packet->source) && !is_unspecified(packet->source) &&
        !lib::contains(link_local6, packet->source)) {
        return undelivered(tx_not_ours);
    }
    const bool on_link = lib::on_delivery_link(config_.delivery, packet->dest);
    if (const auto tunnel = ike_tunnel(*packet, false)) {
        return {.way = on_link ? Departure::Way::link : Departure::Way::routed,
                .family = *family,
                .tunnel = tunnel};
    }
    if (const auto* route = route_of(packet->dest)) {
        return {.way = route->tunnel ? Departure::Way::seal : Departure::Way::routed,
                .family = *family,
                .tunnel = route->tunnel,
                .length = packet->length};
    }
    return on_link || is_link_scope(packet->dest) ? Departure{.way = Departure::Way::link}
                                                  : undelivered(tx_no_route);
}

bool PacketRules::may_come_out(Bytes bytes, std::uint16_t tunnel) const {
    if (bytes.empty()) {
        return false;
    }
    const auto packet = parse(bytes[0] >> 4 == 4 ? lib::Family::ipv4 : lib::Family::ipv6, bytes);
    if (!packet || !is_own(packet->dest)) {
        return false;
    }
    const lib::RouteConfig* const route = route_of(packet->source);
    return route != nullptr && route->tunnel == tunnel;
}

}  // namespace flowtap::dataplane::slow_path
