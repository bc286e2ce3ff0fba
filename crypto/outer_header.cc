#include "crypto/outer_header.h"

#include <cstring>

namespace flowtap::crypto {
namespace {

constexpr std::uint8_t ecn_bits = 0x03;
constexpr std::uint8_t protocol_udp = 17;

/// The one's complement sum folded to 16 bits (RFC 1071).
std::uint16_t fold(std::uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

}  // namespace

OuterHeader::OuterHeader(const lib::IpAddress& local, const lib::IpAddress& remote, std::uint8_t ttl,
                         std::optional<std::uint8_t> dscp, bool udp)
    : ip_size_(local.family == lib::Family::ipv4 ? ipv4_header_size : ipv6_header_size),
      size_(ip_size_ + (udp ? udp_header_size : 0)),
      largest_payload_(65'535 - (local.family == lib::Family::ipv4 ? size_ : size_ - ipv6_header_size)),
      udp_(udp),
      copied_bits_(dscp ? ecn_bits : std::uint8_t{0xff}),
      fixed_bits_(static_cast<std::uint8_t>(dscp.value_or(0) << 2)) {
    std::uint8_t* const bytes = template_.data();
    const std::uint8_t protocol = udp ? protocol_udp : static_cast<std::uint8_t>(NextHeader::esp);
    if (local.family == lib::Family::ipv4) {
        bytes[0] = 0x45;
        bytes[8] = ttl;
        bytes[9] = protocol;
        std::memcpy(bytes + 12, local.bytes.data(), 4);
        std::memcpy(bytes + 16, remote.bytes.data(), 4);
        for (std::size_t i = 0; i < ipv4_header_size; i += 2) {
            sum_ += load_big_endian<std::uint16_t>(bytes + i);
        }
        words_ = {load_big_endian<std::uint64_t>(bytes), load_big_endian<std::uint64_t>(bytes + 8)};
    } else {
        bytes[0] = 0x60;
        bytes[6] = protocol;
        bytes[7] = ttl;
        std::memcpy(bytes + 8, local.bytes.data(), 16);
        std::memcpy(bytes + 24, remote.bytes.data(), 16);
    }
}

void OuterHeader::write_udp(std::uint8_t* place, std::size_t payload) {
    store_big_endian(place, udp_port);
    store_big_endian(place + 2, udp_port);
    store_big_endian(place + 4, static_cast<std::uint16_t>(payload));
    store_big_endian(place + 6, std::uint16_t{0});
}

void OuterHeader::write_ipv6(std::uint8_t* place, std::size_t payload, std::uint8_t ds) const {
    std::memcpy(place, template_.data(), ipv6_header_size);
    place[0] = static_cast<std::uint8_t>(0x60 | ds >> 4);
    place[1] = static_cast<std::uint8_t>(ds << 4);
    store_big_endian(place + 4, static_cast<std::uint16_t>(payload));
}

void OuterHeader::finish(std::uint8_t* place, std::size_t payload) const {
    std::uint8_t* const udp = place + ipv6_header_size;
    const std::size_t length = udp_header_size + payload;
    // Any order of summing gives the same sum, so 32 bits at a time (RFC 1071 section 2).
    std::uint64_t sum = protocol_udp + length;
    const auto add = [&sum](const std::uint8_t* bytes, std::size_t count) {
        for (; count >= 4; bytes += 4, count -= 4) {
            sum += load_big_endian<std::uint32_t>(bytes);
        }
        for (std::size_t i = 0; i < count; ++i) {
            sum += std::uint64_t{bytes[i]} << (24 - 8 * i);
        }
    };
    add(place + 8, 32);  // both addresses
    add(udp, length);
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    const auto checksum = static_cast<std::uint16_t>(~fold(static_cast<std::uint32_t>(sum)));
    store_big_endian(udp + 6, checksum == 0 ? std::uint16_t{0xffff} : checksum);  // 0 would mean: none
}

}  // namespace flowtap::crypto
