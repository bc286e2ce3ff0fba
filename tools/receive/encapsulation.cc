#include "tools/receive/encapsulation.h"

#include "crypto/big_endian.h"
#include "crypto/esp.h"
#include "lib/shims.h"

#include <algorithm>

namespace flowtap::tools::receive {
namespace {

using crypto::load_big_endian;

constexpr std::uint16_t ethertype_ipv4 = 0x0800;
constexpr std::uint16_t ethertype_ipv6 = 0x86dd;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t protocol_esp = 50;
constexpr std::size_t most_vlan_tags = 4;
constexpr std::size_t most_extension_headers = 8;

using Found = std::expected<std::optional<std::span<std::uint8_t>>, Cause>;

constexpr std::unexpected<Cause> truncated{Cause::frame_truncated};

bool is_vlan(std::uint16_t ethertype) {
    return ethertype == 0x8100 || ethertype == 0x88a8 || ethertype == 0x9100;
}

/// The part behind a link-layer header that ends with an EtherType at `type_offset`; empty when it is not IP.
std::expected<std::span<std::uint8_t>, Cause> behind_ethertype(std::span<std::uint8_t> frame,
                                                               std::size_t type_offset, std::size_t header) {
    if (frame.size() < header) {
        return truncated;
    }
    std::uint16_t type = load_big_endian<std::uint16_t>(frame.data() + type_offset);
    for (std::size_t tags = 0; is_vlan(type) && tags < most_vlan_tags; ++tags) {
        if (frame.size() < header + 4) {
            return truncated;
        }
        type = load_big_endian<std::uint16_t>(frame.data() + header + 2);
        header += 4;
    }
    const bool is_ip = type == ethertype_ipv4 || type == ethertype_ipv6;
    return is_ip ? frame.subspan(header) : std::span<std::uint8_t>{};
}

std::expected<std::span<std::uint8_t>, Cause> behind_link(std::span<std::uint8_t> frame, LinkType type) {
    switch (type) {
        case LinkType::ethernet:
            return behind_ethertype(frame, 12, 14);
        case LinkType::linux_cooked:
            return behind_ethertype(frame, 14, 16);
        case LinkType::linux_cooked_2:
            return behind_ethertype(frame, 0, 20);
        case LinkType::raw:
        case LinkType::ipv4:
        case LinkType::ipv6:
            return frame;
    }
    return std::span<std::uint8_t>{};
}

/// Whether this is, or begins with, a UDP header of the port that ESP is sent to.
bool is_esp_port(std::span<const std::uint8_t> udp) {
    return udp.size() >= crypto::udp_header_size &&
           load_big_endian<std::uint16_t>(udp.data() + 2) == crypto::udp_port;
}

/// `udp`: by the IP header's length.
Found esp_in_udp(std::span<std::uint8_t> udp) {
    if (!is_esp_port(udp)) {
        return std::nullopt;
    }
    const std::size_t length = load_big_endian<std::uint16_t>(udp.data() + 4);
    if (length < crypto::udp_header_size || length > udp.size()) {
        return truncated;
    }
    const auto payload = udp.subspan(crypto::udp_header_size, length - crypto::udp_header_size);
    constexpr std::size_t marker = 4;  // of zeros: IKE (section 2.2); a keepalive is one byte (section 2.3)
    const bool esp = payload.size() > marker && load_big_endian<std::uint32_t>(payload.data()) != 0;
    return esp ? Found(payload) : Found(std::nullopt);
}

Found esp_in_ipv4(std::span<std::uint8_t> packet) {
    if (packet.size() < 20) {
        return truncated;
    }
    if (packet[9] != protocol_esp && packet[9] != protocol_udp) {
        return std::nullopt;
    }
    const std::size_t header = std::size_t{4} * (packet[0] & 0x0fU);
    const std::size_t total = load_big_endian<std::uint16_t>(packet.data() + 2);
    const std::uint16_t fragment = load_big_endian<std::uint16_t>(packet.data() + 6) & 0x3fff;
    if (packet[9] == protocol_udp) {
        // Only the first fragment shows the port, and a fragment that does not is none of ours.
        if (header < 20 || packet.size() < header || (fragment & 0x1fff) != 0 ||
            !is_esp_port(packet.subspan(header))) {
            return std::nullopt;
        }
    }
    if (header < 20 || total < header || total > packet.size()) {
        return truncated;
    }
    if (fragment != 0) {
        return std::unexpected(Cause::outer_fragment);
    }
    const auto payload = packet.subspan(header, total - header);
    return packet[9] == protocol_udp ? esp_in_udp(payload) : Found(payload);
}

Found esp_in_ipv6(std::span<std::uint8_t> packet) {
    if (packet.size() < 40) {
        return truncated;
    }
    const std::size_t total = std::size_t{40} + load_big_endian<std::uint16_t>(packet.data() + 4);
    std::uint8_t next = packet[6];
    std::size_t at = 40;
    for (std::size_t headers = 0; headers <= most_extension_headers; ++headers) {
        switch (next) {
            case protocol_esp:
                if (total > packet.size() || at > total) {
                    return truncated;
                }
                return packet.subspan(at, total - at);
            case protocol_udp:
                if (at > packet.size() || !is_esp_port(packet.subspan(at))) {
                    return std::nullopt;
                }
                if (total > packet.size() || at > total) {
                    return truncated;
                }
                return esp_in_udp(packet.subspan(at, total - at));
            case 0:   // hop-by-hop
            case 43:  // routing
            case 60:  // destination options
                if (packet.size() < at + 8) {
                    return truncated;
                }
                next = packet[at];
                at += std::size_t{8} * (packet[at + 1] + std::size_t{1});
                break;
            case 44:
                if (packet.size() < at + 8) {
                    return truncated;
                }
                if (packet[at] == protocol_esp) {
                    return std::unexpected(Cause::outer_fragment);
                }
                return std::nullopt;
            default:
                return std::nullopt;
        }
    }
    return std::nullopt;
}

/// The one's complement sum of big-endian words; an odd last byte is padded with 0 (RFC 1071).
std::uint32_t sum_of(std::span<const std::uint8_t> bytes) {
    std::uint32_t sum = 0;  // 65,535 bytes cannot overflow it
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        sum += load_big_endian<std::uint16_t>(bytes.data() + i);
    }
    if (bytes.size() % 2 != 0) {
        sum += static_cast<std::uint32_t>(bytes.back()) << 8;
    }
    return sum;
}

bool sums_to_zero(std::uint64_t sum) {
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum == 0xffff;
}

/// Where the UDP header starts in the encapsulation's packet.
std::expected<std::size_t, Cause> udp_offset(std::span<const std::uint8_t> packet) {
    if (packet.size() >= 20 && packet[0] >> 4 == 4) {
        const std::size_t header = std::size_t{4} * (packet[0] & 0x0fU);
        if (header < 20 || header > packet.size() || !sums_to_zero(sum_of(packet.first(header)))) {
            return std::unexpected(Cause::bad_inner_header);
        }
        if ((load_big_endian<std::uint16_t>(packet.data() + 6) & 0x3fff) != 0) {
            return std::unexpected(Cause::inner_fragment);
        }
        return packet[9] == protocol_udp ? std::expected<std::size_t, Cause>(header)
                                         : std::unexpected(Cause::not_udp);
    }
    if (packet.size() >= 40 && packet[0] >> 4 == 6) {
        if (packet[6] == 44) {
            return std::unexpected(Cause::inner_fragment);
        }
        return packet[6] == protocol_udp ? std::expected<std::size_t, Cause>(40)
                                         : std::unexpected(Cause::not_udp);
    }
    return std::unexpected(Cause::bad_inner_header);
}

bool udp_checksum_is_right(std::span<const std::uint8_t> addresses, std::span<const std::uint8_t> udp) {
    const bool ipv4 = addresses.size() == 8;
    if (load_big_endian<std::uint16_t>(udp.data() + 6) == 0) {
        return ipv4;  // none computed (RFC 768); IPv6 needs one
    }
    return sums_to_zero(std::uint64_t{sum_of(addresses)} + sum_of(udp) + udp.size() + protocol_udp);
}

lib::IpAddress address_from(std::span<const std::uint8_t> bytes) {
    lib::IpAddress address{bytes.size() == 4 ? lib::Family::ipv4 : lib::Family::ipv6, {}};
    std::ranges::copy(bytes, address.bytes.begin());
    return address;
}

}  // namespace

bool supported(LinkType type) {
    switch (type) {
        case LinkType::ethernet:
        case LinkType::raw:
        case LinkType::linux_cooked:
        case LinkType::ipv4:
        case LinkType::ipv6:
        case LinkType::linux_cooked_2:
            return true;
    }
    return false;
}

std::expected<std::optional<std::span<std::uint8_t>>, Cause> find_esp(std::span<std::uint8_t> frame,
                                                                      LinkType type) {
    const auto packet = behind_link(frame, type);
    if (!packet) {
        return std::unexpected(packet.error());
    }
    if (packet->empty()) {
        return std::nullopt;
    }
    switch ((*packet)[0] >> 4) {
        case 4:
            return esp_in_ipv4(*packet);
        case 6:
            return esp_in_ipv6(*packet);
        default:
            return std::nullopt;
    }
}

std::expected<Copy, Cause> strip(std::span<const std::uint8_t> packet, const ShimRules& shims) {
    const auto offset = udp_offset(packet);
    if (!offset) {
        return std::unexpected(offset.error());
    }
    const auto rest = packet.subspan(*offset);
    if (rest.size() < 8) {
        return std::unexpected(Cause::bad_udp);
    }
    const std::size_t length = load_big_endian<std::uint16_t>(rest.data() + 4);
    if (length < 8 || length != rest.size()) {
        return std::unexpected(Cause::bad_udp);
    }
    const std::size_t address_bytes = packet[0] >> 4 == 4 ? 4 : 16;
    const auto addresses = packet.subspan(address_bytes == 4 ? 12 : 8, 2 * address_bytes);
    if (!udp_checksum_is_right(addresses, rest)) {
        return std::unexpected(Cause::bad_udp);
    }
    const auto destination_port = load_big_endian<std::uint16_t>(rest.data() + 2);
    const auto shim = parse_shim(rest.subspan(8), shims.at(destination_port));
    if (!shim) {
        return std::unexpected(Cause::bad_shim);
    }
    const auto original = rest.subspan(8 + shim->size);
    const bool whole_frame = (shim->flags & lib::shim_flag::whole_frame) != 0;
    if (!whole_frame && (original.empty() || (original[0] >> 4 != 4 && original[0] >> 4 != 6))) {
        return std::unexpected(Cause::not_ip);
    }
    return Copy{.source = address_from(addresses.first(address_bytes)),
                .destination = address_from(addresses.last(address_bytes)),
                .source_port = load_big_endian<std::uint16_t>(rest.data()),
                .destination_port = destination_port,
                .shim = *shim,
                .whole_frame = whole_frame,
                .original = original};
}

}  // namespace flowtap::tools::receive
