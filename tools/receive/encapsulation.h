// Taking off what the dataplane put around a copy: link layer and outer header in front of ESP, and the
// encapsulation inside of it. Pure functions of bytes; nothing is reassembled.
#pragma once

#include "lib/address.h"
#include "lib/counters.h"
#include "tools/receive/shim.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>

namespace flowtap::tools::receive {

/// Why a packet that reached the receiver did not become an original packet. What ESP itself refuses has
/// verdicts of its own (crypto/esp.h).
enum class Cause : std::uint8_t {
    frame_truncated,   ///< the frame ends inside a header before ESP
    outer_fragment,    ///< ESP in fragments
    not_udp,           ///< inside is something else than an encapsulated copy
    inner_fragment,    ///< a fragment of an encapsulated copy
    bad_inner_header,  ///< impossible lengths or a wrong checksum of the encapsulation's IP header
    bad_udp,           ///< impossible length or wrong checksum of the encapsulation's UDP header
    not_ip,            ///< what follows the shim is no IP packet
    bad_shim,          ///< the payload does not begin with the shim that was agreed on
    count_,
};

inline constexpr std::array<lib::CounterInfo, static_cast<std::size_t>(Cause::count_)> causes{{
    {"frame-truncated", lib::Severity::warning, "frames that end inside a header before ESP"},
    {"outer-fragment", lib::Severity::warning, "fragments of ESP packets"},
    {"not-udp", lib::Severity::warning, "opened packets without UDP inside"},
    {"inner-fragment", lib::Severity::warning, "opened fragments of encapsulated copies"},
    {"bad-inner-header", lib::Severity::error, "opened packets with an impossible IP header"},
    {"bad-udp", lib::Severity::error, "opened packets with an impossible UDP header or a wrong UDP checksum"},
    {"not-ip", lib::Severity::error, "opened packets whose UDP payload is no IP packet"},
    {"bad-shim", lib::Severity::error,
     "opened packets that do not begin with the shim that they should have"},
}};

/// Link-layer headers that captures come with; the values are libpcap's DLT_* numbers.
enum class LinkType : int {
    ethernet = 1,
    raw = 12,
    linux_cooked = 113,
    ipv4 = 228,
    ipv6 = 229,
    linux_cooked_2 = 276,
};

bool supported(LinkType type);

/// The ESP packet of a frame, from the SPI on, by the outer header's length; nullopt: the frame is something
/// else. Finds it in UDP on port 4500 too (RFC 3948), where IKE and keepalives are something else, and UDP
/// checksums do not count. Looks behind link layer (VLAN tags too), IPv4 with options, and IPv6 with
/// extension headers (8 at most).
std::expected<std::optional<std::span<std::uint8_t>>, Cause> find_esp(std::span<std::uint8_t> frame,
                                                                      LinkType type);

/// A copy without its encapsulation.
struct Copy {
    lib::IpAddress source;
    lib::IpAddress destination;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    ShimFields shim;
    bool whole_frame = false;                ///< the original begins with its Ethernet header
    std::span<const std::uint8_t> original;  ///< else with its IP header
};

/// Strips the encapsulation, IP | UDP | shim, from an opened packet (whose IP lengths the ESP opener has
/// checked).
/// Checksums are verified: IPv4's header, and UDP's where IPv4 has one and always with IPv6 (RFC 8200
/// section 8.1).
std::expected<Copy, Cause> strip(std::span<const std::uint8_t> packet, const ShimRules& shims = {});

}  // namespace flowtap::tools::receive
