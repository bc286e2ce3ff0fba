#include "dataplane/encapsulation.h"

#include <rte_ip.h>
#include <rte_udp.h>

#include <algorithm>
#include <cstring>

namespace flowtap::dataplane {
namespace {

constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t protocol_fragment = 44;
constexpr std::uint16_t more_fragments_ipv4 = 0x2000;
constexpr std::uint16_t more_fragments_ipv6 = 0x0001;

using internal::big_endian;
using internal::fold;
using internal::store;

std::uint16_t identification16(const Datagram& datagram) {
    return big_endian(datagram.identification & 0xffff);
}

/// And what is constant of the shim.
void write_udp(const Encapsulation& encapsulation, const Datagram& datagram, std::uint8_t* place) {
    const std::uint16_t length = big_endian(encapsulation.front_size() + datagram.body_length);
    std::memcpy(place, encapsulation.headers.data() + encapsulation.ip_size(),
                udp_header + encapsulation.constant_shim);
    store(place + 4, length);
    if (encapsulation.family == lib::Family::ipv6) {
        store(place + 6, internal::udp_checksum_ipv6(encapsulation, datagram, length));
    }
}

void write_ipv4(const Encapsulation& encapsulation, const Datagram& datagram, const Piece& piece,
                std::uint8_t* place) {
    const std::uint16_t total = big_endian(static_cast<std::uint32_t>(ipv4_header) + piece.length);
    const std::uint16_t fragment = big_endian(piece.offset / 8 + (piece.more ? more_fragments_ipv4 : 0U));
    const std::uint16_t identification = identification16(datagram);
    std::memcpy(place, encapsulation.headers.data(), ipv4_header);
    store(place + 2, total);
    store(place + 4, identification);
    store(place + 6, fragment);
    store(place + 10,
          static_cast<std::uint16_t>(~fold(encapsulation.sum + std::uint32_t{total} +
                                           std::uint32_t{identification} + std::uint32_t{fragment})));
}

void write_ipv6(const Encapsulation& encapsulation, const Datagram& datagram, const Piece& piece,
                std::uint8_t* place) {
    std::memcpy(place, encapsulation.headers.data(), ipv6_header);
    if (piece.whole()) {
        store(place + 4, big_endian(piece.length));
        return;
    }
    store(place + 4, big_endian(piece.length + static_cast<std::uint32_t>(fragment_header)));
    place[6] = protocol_fragment;
    std::uint8_t* fragment = place + ipv6_header;
    fragment[0] = protocol_udp;
    fragment[1] = 0;
    store(fragment + 2, big_endian(piece.offset + (piece.more ? more_fragments_ipv6 : 0U)));
    const std::uint32_t identification = rte_cpu_to_be_32(datagram.identification);
    std::memcpy(fragment + 4, &identification, sizeof identification);
}

/// Bytes between the IP header and the piece's payload.
std::size_t fragment_size(const Encapsulation& encapsulation, bool whole) {
    return whole || encapsulation.family == lib::Family::ipv4 ? 0 : fragment_header;
}

}  // namespace

Encapsulation make_encapsulation(const lib::TapDestination& destination) {
    Encapsulation result;
    result.family = destination.family;
    std::uint8_t* ip = result.headers.data();
    std::uint8_t* udp = ip + result.ip_size();
    store(udp, rte_cpu_to_be_16(destination.source_port));
    store(udp + 2, rte_cpu_to_be_16(destination.dest_port));
    result.shim_size = static_cast<std::uint8_t>(lib::shim_size(destination.shim));
    if (destination.shim != lib::Shim::flowtap) {
        result.constant_shim = result.shim_size;
        std::copy_n(destination.shim_bytes.begin(), result.constant_shim, udp + udp_header);
    }
    const auto traffic_class = static_cast<std::uint8_t>(destination.dscp << 2);
    if (destination.family == lib::Family::ipv4) {
        ip[0] = 0x45;
        ip[1] = traffic_class;
        ip[8] = destination.ttl;
        ip[9] = protocol_udp;
        std::copy_n(destination.source_address.begin(), 4, ip + 12);
        std::copy_n(destination.dest_address.begin(), 4, ip + 16);
        result.sum = rte_raw_cksum(ip, ipv4_header);
        return result;
    }
    ip[0] = static_cast<std::uint8_t>(0x60 | traffic_class >> 4);
    ip[1] = static_cast<std::uint8_t>(traffic_class << 4);
    ip[6] = protocol_udp;
    ip[7] = destination.ttl;
    std::copy_n(destination.source_address.begin(), 16, ip + 8);
    std::copy_n(destination.dest_address.begin(), 16, ip + 24);
    result.sum = std::uint32_t{rte_raw_cksum(ip + 8, 32)} + rte_raw_cksum(udp, 4) +
                 rte_raw_cksum(udp + udp_header, result.constant_shim) + big_endian(protocol_udp);
    return result;
}

Piece next_piece(const Encapsulation& encapsulation, const Datagram& datagram, std::uint32_t offset,
                 std::uint32_t largest) {
    const std::uint32_t front = encapsulation.front_size();
    const std::uint32_t payload = front + datagram.body_length;
    const auto ip = static_cast<std::uint32_t>(encapsulation.ip_size());
    if (offset == 0 && ip + payload <= largest) {
        return {0, payload, false, front};
    }
    const auto fragment = static_cast<std::uint32_t>(fragment_size(encapsulation, false));
    const std::uint32_t room = largest - ip - fragment;
    const std::uint32_t left = payload - offset;
    return left <= room ? Piece{offset, left, false, front} : Piece{offset, room / 8 * 8, true, front};
}

std::uint32_t count_pieces(const Encapsulation& encapsulation, const Datagram& datagram,
                           std::uint32_t largest) {
    std::uint32_t count = 1;
    for (Piece piece = next_piece(encapsulation, datagram, 0, largest); piece.more; ++count) {
        piece = next_piece(encapsulation, datagram, piece.offset + piece.length, largest);
    }
    return count;
}

std::uint32_t piece_header(const Encapsulation& encapsulation) {
    return static_cast<std::uint32_t>(encapsulation.ip_size() + fragment_size(encapsulation, false));
}

std::size_t header_size(const Encapsulation& encapsulation, const Piece& piece) {
    return encapsulation.ip_size() + fragment_size(encapsulation, piece.whole()) +
           (piece.offset == 0 ? encapsulation.front_size() : 0);
}

void write_piece(const Encapsulation& encapsulation, const Datagram& datagram, const Piece& piece,
                 std::uint8_t* place) {
    if (encapsulation.family == lib::Family::ipv4) {
        write_ipv4(encapsulation, datagram, piece, place);
    } else {
        write_ipv6(encapsulation, datagram, piece, place);
    }
    if (piece.offset == 0) {
        write_udp(encapsulation, datagram,
                  place + encapsulation.ip_size() + fragment_size(encapsulation, piece.whole()));
    }
}

void add_to_checksum(std::uint8_t* checksum, const std::uint8_t* bytes, std::size_t size) {
    std::uint16_t before;
    std::memcpy(&before, checksum, sizeof before);
    const auto sum = static_cast<std::uint16_t>(
        ~fold(std::uint32_t{static_cast<std::uint16_t>(~before)} + rte_raw_cksum(bytes, size)));
    store(checksum, sum == 0 ? std::uint16_t{0xffff} : sum);
}

void set_to_target(const Encapsulation& encapsulation, std::uint8_t* udp) {
    constexpr std::uint8_t bit = lib::NokiaShim::to_target >> 24;
    std::uint8_t* const shim = udp + udp_header;
    *shim = static_cast<std::uint8_t>(*shim | bit);
    if (std::uint8_t* const checksum = checksum_place(encapsulation, udp)) {
        const std::array<std::uint8_t, 2> added{bit, 0};
        add_to_checksum(checksum, added.data(), added.size());
    }
}

}  // namespace flowtap::dataplane
