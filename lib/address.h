// IP addresses, prefixes and MAC addresses as values.
//
// Addresses are kept in network byte order, left-aligned in 16 bytes: an IPv4 address fills bytes 0..3 and
// the rest are zero. Within one family the lexicographic order of the bytes is therefore the numeric order.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace flowtap::lib {

enum class Family : std::uint8_t { ipv4 = 4, ipv6 = 6 };

/// Bytes of an address of the family: 4 or 16.
constexpr std::size_t address_size(Family family) {
    return family == Family::ipv4 ? 4 : 16;
}

struct IpAddress {
    Family family = Family::ipv4;
    std::array<std::uint8_t, 16> bytes{};

    auto operator<=>(const IpAddress&) const = default;
};

struct Prefix {
    IpAddress address;        ///< host bits are zero
    std::uint8_t length = 0;  ///< bits, at most 32 or 128

    auto operator<=>(const Prefix&) const = default;
};

/// An address of an interface, and how many bits of it are its subnet's prefix.
struct InterfaceAddress {
    IpAddress address;
    std::uint8_t length = 0;  ///< bits, at most 32 or 128

    auto operator<=>(const InterfaceAddress&) const = default;
};

using MacAddress = std::array<std::uint8_t, 6>;

/// Dotted quad (RFC 6943 section 3.1.1 strict form, no leading zeros) or RFC 4291 section 2.2 text.
/// Errors are sentences for a person: what was read and what would be right.
std::expected<IpAddress, std::string> parse_address(std::string_view text);

/// "A/len"; a bare address is a host prefix. Host bits that are set are an error (the message names the
/// prefix that was probably meant).
std::expected<Prefix, std::string> parse_prefix(std::string_view text);

/// "A/len", where A is a host of the subnet; a bare address is a subnet of its own.
std::expected<InterfaceAddress, std::string> parse_interface_address(std::string_view text);

/// Six hexadecimal pairs separated by colons.
std::expected<MacAddress, std::string> parse_mac(std::string_view text);

/// RFC 5952 for IPv6, dotted quad for IPv4.
std::string to_string(const IpAddress& address);
std::string to_string(const Prefix& prefix);
std::string to_string(const InterfaceAddress& address);
std::string to_string(const MacAddress& mac);

/// The interface's subnet.
Prefix subnet(const InterfaceAddress& address);
/// First and last address of the prefix.
IpAddress first_address(const Prefix& prefix);
IpAddress last_address(const Prefix& prefix);
bool contains(const Prefix& prefix, const IpAddress& address);
bool overlaps(const Prefix& left, const Prefix& right);

}  // namespace flowtap::lib
