#include "test/support/outer_oracle.h"

namespace flowtap::test {
namespace {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t protocol_esp = 50;
constexpr std::uint16_t nat_traversal_port = 4500;

void append(Bytes& bytes, std::uint32_t value, int width) {
    while (width-- > 0) {
        bytes.push_back(static_cast<std::uint8_t>(value >> 8 * width));
    }
}

void append(Bytes& bytes, const lib::IpAddress& address) {
    const View all = address.bytes;
    const View used = all.first(lib::address_size(address.family));
    bytes.insert(bytes.end(), used.begin(), used.end());
}

std::uint16_t checksum(View bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(~sum);
}

void put(Bytes& bytes, std::size_t at, std::uint16_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}

}  // namespace

std::size_t OuterOracle::size() const {
    return std::size_t{local.family == lib::Family::ipv4 ? 20U : 40U} + (udp ? 8 : 0);
}

Bytes OuterOracle::headers(std::uint8_t inner_ds, std::uint16_t identification, View esp) const {
    const bool ipv4 = local.family == lib::Family::ipv4;
    const std::uint8_t protocol = udp ? protocol_udp : protocol_esp;
    const std::uint32_t ds = dscp ? std::uint32_t{*dscp} * 4 + inner_ds % 4 : inner_ds;
    const auto payload = static_cast<std::uint32_t>(esp.size() + (udp ? 8 : 0));

    Bytes bytes;
    if (ipv4) {
        append(bytes, 0x45, 1);
        append(bytes, ds, 1);
        append(bytes, 20 + payload, 2);
        append(bytes, identification, 2);
        append(bytes, 0, 2);  // may be fragmented, and is not
        append(bytes, ttl, 1);
        append(bytes, protocol, 1);
        append(bytes, 0, 2);
    } else {
        append(bytes, 6U << 28 | ds << 20, 4);
        append(bytes, payload, 2);
        append(bytes, protocol, 1);
        append(bytes, ttl, 1);
    }
    append(bytes, local);
    append(bytes, remote);
    if (ipv4) {
        put(bytes, 10, checksum(bytes));
    }
    if (udp) {
        Bytes covered;  // the pseudo-header of RFC 8200 section 8.1, then the datagram
        append(covered, local);
        append(covered, remote);
        append(covered, payload, 4);
        append(covered, protocol_udp, 4);
        Bytes header;
        append(header, nat_traversal_port, 2);
        append(header, nat_traversal_port, 2);
        append(header, payload, 2);
        append(header, 0, 2);
        if (!ipv4) {  // RFC 3948 section 2.1 wants none over IPv4
            covered.insert(covered.end(), header.begin(), header.end());
            covered.insert(covered.end(), esp.begin(), esp.end());
            const std::uint16_t sum = checksum(covered);
            put(header, 6, sum == 0 ? std::uint16_t{0xffff} : sum);
        }
        bytes.insert(bytes.end(), header.begin(), header.end());
    }
    return bytes;
}

}  // namespace flowtap::test
