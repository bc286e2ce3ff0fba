#include "lib/address.h"

#include <fmt/format.h>

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstdint>
#include <netinet/in.h>
#include <optional>

namespace flowtap::lib {
namespace {

constexpr unsigned family_bits(Family family) {
    return family == Family::ipv4 ? 32 : 128;
}

/// The byte of a netmask of `length` bits at `index`.
constexpr std::uint8_t mask_byte(unsigned length, std::size_t index) {
    const unsigned before = static_cast<unsigned>(index) * 8;
    if (length >= before + 8) {
        return 0xff;
    }
    if (length <= before) {
        return 0;
    }
    return static_cast<std::uint8_t>(0xffU << (8 - (length - before)));
}

std::optional<std::uint8_t> hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') {
        return static_cast<std::uint8_t>(digit - '0');
    }
    if (digit >= 'a' && digit <= 'f') {
        return static_cast<std::uint8_t>(digit - 'a' + 10);
    }
    if (digit >= 'A' && digit <= 'F') {
        return static_cast<std::uint8_t>(digit - 'A' + 10);
    }
    return std::nullopt;
}

}  // namespace

std::expected<IpAddress, std::string> parse_address(std::string_view text) {
    // inet_pton reads a C string, so a NUL inside the text would hide what follows it.
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    if (text.empty() || text.size() >= buffer.size() || text.find('\0') != std::string_view::npos) {
        return std::unexpected(fmt::format("{:?} is not an IPv4 or IPv6 address", text.substr(0, 64)));
    }
    std::copy(text.begin(), text.end(), buffer.begin());
    IpAddress address;
    address.family = text.find(':') == std::string_view::npos ? Family::ipv4 : Family::ipv6;
    const int family = address.family == Family::ipv4 ? AF_INET : AF_INET6;
    if (inet_pton(family, buffer.data(), address.bytes.data()) != 1) {
        return std::unexpected(
            fmt::format("{:?} is not an {} address", text, address.family == Family::ipv4 ? "IPv4" : "IPv6"));
    }
    return address;
}

std::expected<InterfaceAddress, std::string> parse_interface_address(std::string_view text) {
    const auto slash = text.find('/');
    auto address = parse_address(text.substr(0, slash));
    if (!address) {
        return std::unexpected(std::move(address.error()));
    }
    const unsigned bits = family_bits(address->family);
    unsigned length = bits;
    if (slash != std::string_view::npos) {
        const auto digits = text.substr(slash + 1);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
        if (error != std::errc{} || end != digits.data() + digits.size() || length > bits) {
            return std::unexpected(
                fmt::format("{:?} is not a prefix length: 0 to {} is", digits.substr(0, 16), bits));
        }
    }
    return InterfaceAddress{*address, static_cast<std::uint8_t>(length)};
}

std::expected<Prefix, std::string> parse_prefix(std::string_view text) {
    const auto address = parse_interface_address(text);
    if (!address) {
        return std::unexpected(address.error());
    }
    const Prefix prefix = subnet(*address);
    if (prefix.address != address->address) {
        return std::unexpected(
            fmt::format("{:?} has bits set beyond its length: {} is the prefix", text, to_string(prefix)));
    }
    return prefix;
}

std::expected<MacAddress, std::string> parse_mac(std::string_view text) {
    MacAddress mac{};
    bool good = text.size() == 17;
    for (std::size_t i = 0; good && i < mac.size(); ++i) {
        const auto high = hex_digit(text[i * 3]);
        const auto low = hex_digit(text[i * 3 + 1]);
        good = high && low && (i == mac.size() - 1 || text[i * 3 + 2] == ':');
        if (good) {
            mac[i] = static_cast<std::uint8_t>(*high << 4 | *low);
        }
    }
    if (!good) {
        return std::unexpected(fmt::format("{:?} is not a MAC address: six hexadecimal pairs with colons are",
                                           text.substr(0, 64)));
    }
    return mac;
}

std::string to_string(const IpAddress& address) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    const int family = address.family == Family::ipv4 ? AF_INET : AF_INET6;
    return inet_ntop(family, address.bytes.data(), buffer.data(), buffer.size());
}

std::string to_string(const Prefix& prefix) {
    return fmt::format("{}/{}", to_string(prefix.address), prefix.length);
}

std::string to_string(const InterfaceAddress& address) {
    return fmt::format("{}/{}", to_string(address.address), address.length);
}

std::string to_string(const MacAddress& mac) {
    return fmt::format("{:02x}", fmt::join(mac, ":"));
}

Prefix subnet(const InterfaceAddress& address) {
    Prefix prefix{address.address, address.length};
    for (std::size_t i = 0; i < prefix.address.bytes.size(); ++i) {
        prefix.address.bytes[i] =
            static_cast<std::uint8_t>(prefix.address.bytes[i] & mask_byte(prefix.length, i));
    }
    return prefix;
}

IpAddress first_address(const Prefix& prefix) {
    return prefix.address;
}

IpAddress last_address(const Prefix& prefix) {
    IpAddress last = prefix.address;
    for (std::size_t i = 0; i < address_size(last.family); ++i) {
        last.bytes[i] = static_cast<std::uint8_t>(last.bytes[i] | ~mask_byte(prefix.length, i));
    }
    return last;
}

bool contains(const Prefix& prefix, const IpAddress& address) {
    if (prefix.address.family != address.family) {
        return false;
    }
    for (std::size_t i = 0; i < address_size(address.family); ++i) {
        if (((prefix.address.bytes[i] ^ address.bytes[i]) & mask_byte(prefix.length, i)) != 0) {
            return false;
        }
    }
    return true;
}

bool overlaps(const Prefix& left, const Prefix& right) {
    return left.length <= right.length ? contains(left, right.address) : contains(right, left.address);
}

}  // namespace flowtap::lib
