// What stands in front of a copy, prepared once for a content destination and completed for each copy:
// IP | UDP | shim | original packet. The shim is constant, or there is none (lib::Shim); but for the
// direction in Nokia's, which set_to_target() changes, and all of our own, which is written later
// (copy_numbers.h).
//
// IPv4: DF clear, the ID counts up, UDP checksum 0 (RFC 768). IPv6: UDP checksum computed (RFC 8200
// section 8.1). What is longer than the tunnel or link can carry leaves as IP fragments (RFC 791 section 3.2,
// RFC 8200 section 4.5), each of which opens by itself.
#pragma once

#include "lib/address.h"
#include "lib/records.h"
#include "lib/shims.h"

#include <rte_byteorder.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace flowtap::dataplane {

inline constexpr std::size_t ipv4_header = 20;
inline constexpr std::size_t ipv6_header = 40;
inline constexpr std::size_t fragment_header = 8;
inline constexpr std::size_t udp_header = 8;
inline constexpr std::size_t largest_shim = sizeof(lib::FlowtapShim);
/// The most that write_piece puts in front of the original packet.
inline constexpr std::size_t largest_encapsulation =
    ipv6_header + fragment_header + udp_header + largest_shim;

/// Headers are copied at this width, whatever of it they are.
inline constexpr std::size_t header_room = 64;

struct Encapsulation {
    std::array<std::uint8_t, header_room>
        headers{};          ///< IP, UDP, what is constant of the shim; lengths, ID, checksums zero
    std::uint32_t sum = 0;  ///< of the words that a checksum covers and that are the same in every copy
    lib::Family family = lib::Family::ipv4;
    std::uint8_t shim_size = 0;
    std::uint8_t constant_shim = 0;  ///< of the shim's bytes

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

/// Writes the headers of a copy that is not cut, as write_piece does; and up to header_room bytes of any
/// value, over which the original packet belongs. A shim that is not constant is left out here and there, and
/// counts as zeros in checksums.
inline void write_whole(const Encapsulation& encapsulation, const Datagram& datagram, std::uint8_t* place);

/// How many pieces that makes.
std::uint32_t count_pieces(const Encapsulation& encapsulation, const Datagram& datagram,
                           std::uint32_t largest);

/// Bytes of the IP headers of each of several pieces.
std::uint32_t piece_header(const Encapsulation& encapsulation);

/// Bytes that write_piece writes.
std::size_t header_size(const Encapsulation& encapsulation, const Piece& piece);

/// Writes the headers of the piece to `place`; its part of the original packet belongs right behind them.
void write_piece(const Encapsulation& encapsulation, const Datagram& datagram, const Piece& piece,
                 std::uint8_t* place);

/// Of a copy with Nokia's shim, whose UDP header is at `udp`: it goes to the target.
void set_to_target(const Encapsulation& encapsulation, std::uint8_t* udp);

/// Where the checksum of the UDP header is; null: IPv4 has none.
inline std::uint8_t* checksum_place(const Encapsulation& encapsulation, std::uint8_t* udp) {
    return encapsulation.family == lib::Family::ipv6 ? udp + 6 : nullptr;
}

/// Bytes at an even place that were zeros when the checksum was computed (RFC 1624).
void add_to_checksum(std::uint8_t* checksum, const std::uint8_t* bytes, std::size_t size);

namespace internal {

/// The ones' complement sum folded to 16 bits (RFC 1071); words are in memory order, as rte_raw_cksum has
/// them.
inline std::uint16_t fold(std::uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

inline std::uint16_t big_endian(std::uint32_t value) {
    return rte_cpu_to_be_16(static_cast<std::uint16_t>(value));
}

inline void store(std::uint8_t* place, std::uint16_t memory_order) {
    std::memcpy(place, &memory_order, sizeof memory_order);
}

/// The length stands in the pseudo header and in the UDP header (RFC 8200 section 8.1).
inline std::uint16_t udp_checksum_ipv6(const Encapsulation& encapsulation, const Datagram& datagram,
                                       std::uint16_t length) {
    const auto sum = static_cast<std::uint16_t>(
        ~fold(encapsulation.sum + datagram.body_sum + std::uint32_t{length} + std::uint32_t{length}));
    return sum == 0 ? std::uint16_t{0xffff} : sum;
}

}  // namespace internal

inline void write_whole(const Encapsulation& encapsulation, const Datagram& datagram, std::uint8_t* place) {
    using internal::store;
    const std::uint32_t payload = encapsulation.front_size() + datagram.body_length;
    const std::uint16_t length = internal::big_endian(payload);
    std::memcpy(place, encapsulation.headers.data(), header_room);
    if (encapsulation.family == lib::Family::ipv4) [[likely]] {
        const std::uint16_t total = internal::big_endian(static_cast<std::uint32_t>(ipv4_header) + payload);
        const std::uint16_t identification = internal::big_endian(datagram.identification & 0xffff);
        store(place + 2, total);
        store(place + 4, identification);
        store(place + 10, static_cast<std::uint16_t>(~internal::fold(
                              encapsulation.sum + std::uint32_t{total} + std::uint32_t{identification})));
        store(place + ipv4_header + 4, length);
        return;
    }
    store(place + 4, length);
    store(place + ipv6_header + 4, length);
    store(place + ipv6_header + 6, internal::udp_checksum_ipv6(encapsulation, datagram, length));
}

}  // namespace flowtap::dataplane
