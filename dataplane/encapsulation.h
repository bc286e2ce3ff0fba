// What stands in front of a copy, prepared once for a content destination and completed for each copy:
// IP | UDP | shim | original packet. The shim is constant, or there is none (lib::Shim).
//
// IPv4: DF clear, the ID counts up, UDP checksum 0 (RFC 768). IPv6: UDP checksum computed (RFC 8200
// section 8.1). What is longer than the tunnel or link can carry leaves as IP fragments (RFC 791 section 3.2,
// RFC 8200 section 4.5), each of which opens by itself.
#pragma once

#include "lib/address.h"
#include "lib/records.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::dataplane {

inline constexpr std::size_t ipv4_header = 20;
inline constexpr std::size_t ipv6_header = 40;
inline constexpr std::size_t fragment_header = 8;
inline constexpr std::size_t udp_header = 8;
inline constexpr std::size_t largest_shim = sizeof(lib::TapDestination::shim_bytes);
/// The most that write_piece puts in front of the original packet.
inline constexpr std::size_t largest_encapsulation =
    ipv6_header + fragment_header + udp_header + largest_shim;

struct Encapsulation {
    std::array<std::uint8_t, ipv6_header + udp_header + largest_shim>
        headers{};          ///< IP, UDP, shim; lengths, ID, checksums zero
    std::uint32_t sum = 0;  ///< of the words that a checksum covers and that are the same in every copy
    lib::Family family = lib::Family::ipv4;
    std::uint8_t shim_size = 0;

    std::size_t ip_size() const { return family == lib::Family::ipv4 ? ipv4_header : ipv6_header; }
    /// What stands between the IP header and the original packet.
    std::uint32_t front_size() const { return static_cast<std::uint32_t>(udp_header) + shim_size; }
    /// Bytes in front of an unfragmented copy.
    std::size_t size() const { return ip_size() + front_size(); }
};

Encapsulation make_encapsulation(const lib::TapDestination& destination);

/// One copy's datagram, before it is cut.
struct Datagram {
    std::uint32_t body_length = 0;     ///< of the original packet; with the headers at most 65,535
    std::uint16_t body_sum = 0;        ///< rte_raw_cksum of the original packet; IPv6 only
    std::uint32_t identification = 0;  ///< IPv4 uses its low 16 bits
};

/// A part of the datagram's IP payload (UDP header, shim and original packet).
struct Piece {
    std::uint32_t offset = 0;  ///< bytes; a multiple of 8
    std::uint32_t length = 0;  ///< bytes
    bool more = false;         ///< another piece follows
    std::uint32_t front = 0;   ///< bytes of the payload before the original packet: all in the first piece

    bool whole() const { return offset == 0 && !more; }
    /// Where in the original packet the piece's part of it starts, and how long that is.
    std::uint32_t body_offset() const { return offset == 0 ? 0 : offset - front; }
    std::uint32_t body_length() const { return offset == 0 ? length - front : length; }
};

/// The piece that starts at `offset`, such that its IP packet is at most `largest` bytes; `largest` leaves
/// room for 16 bytes of payload at least.
Piece next_piece(const Encapsulation& encapsulation, const Datagram& datagram, std::uint32_t offset,
                 std::uint32_t largest);

/// How many pieces that makes.
std::uint32_t count_pieces(const Encapsulation& encapsulation, const Datagram& datagram,
                           std::uint32_t largest);

/// Bytes that write_piece writes.
std::size_t header_size(const Encapsulation& encapsulation, const Piece& piece);

/// Writes the headers of the piece to `place`; its part of the original packet belongs right behind them.
void write_piece(const Encapsulation& encapsulation, const Datagram& datagram, const Piece& piece,
                 std::uint8_t* place);

}  // namespace flowtap::dataplane
