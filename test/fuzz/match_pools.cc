#include "test/fuzz/match_pools.h"

#include "dataplane/match/division.h"
#include "dataplane/match/key_space.h"

#include <cstddef>

namespace flowtap::fuzz {
namespace {

namespace match = dataplane::match;

lib::IpAddress ipv4(std::uint32_t number) {
    lib::IpAddress address;
    for (std::size_t i = 0; i < 4; ++i) {
        address.bytes[i] = static_cast<std::uint8_t>(number >> (24 - 8 * i));
    }
    return address;
}

Pool make_ipv4_pool() {
    using match::Side;
    constexpr std::uint32_t host = 0x0a00'0001;
    const match::KeySpace keys(table_seed);
    const std::size_t source = match::group_of(lib::Family::ipv4, Side::source);
    const std::size_t dest = match::group_of(lib::Family::ipv4, Side::dest);
    const std::uint32_t salt = keys.salt(match::place_of(source, 0));
    const std::uint32_t other_side = keys.salt(match::place_of(dest, 0));
    const std::uint32_t wider = keys.salt(match::place_of(source, 1));
    // The address whose own key is the part of the host's key for a value of a kind.
    const auto part = [&](std::size_t group, std::uint8_t kind, std::uint32_t value) {
        return keys.hash(host, group, 0) ^ (value << 4 | kind) * 0x27d4'eb2dU ^
               keys.salt(match::place_of(group, 0));
    };
    return {ipv4(host),
            ipv4(0x0a00'0002),
            ipv4(0x0a00'000f),
            ipv4(0x0a00'0010),
            ipv4(0x0a00'0101),
            ipv4(0x0a01'0000),
            ipv4(0x0b00'0000),
            ipv4(0xc000'02ff),
            ipv4(0),
            ipv4(0xffff'ffff),
            ipv4(host ^ salt ^ other_side),             // as a destination shares the host's hash as a source
            ipv4(host ^ salt ^ other_side ^ 3),         // its neighbour
            ipv4((host & 0xffff'fff0) ^ wider ^ salt),  // shares that of the host's /28
            ipv4(part(source, match::kind::dest_port, 80)),
            ipv4(part(dest, match::kind::dest_port, 80)),
            ipv4(part(source, match::kind::protocol, 17))};
}

Pool make_ipv6_pool() {
    Pool pool;
    constexpr std::array<const char*, 16> texts{"2001:db8::1",
                                                "2001:db8::2",
                                                "2001:db8::ff",
                                                "2001:db8::100",
                                                "2001:db8::1:0:1",
                                                "2001:db8:0:1::1",
                                                "2001:db8:0:10::",
                                                "2001:db8:1::1",
                                                "2001:db9::1",
                                                "2001:dff::1",
                                                "2002::1",
                                                "fe80::1",
                                                "::",
                                                "::ffff:10.0.0.1",
                                                "ff02::1",
                                                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
    for (std::size_t i = 0; i < pool.size(); ++i) {
        pool[i] = lib::parse_address(texts[i]).value();
    }
    return pool;
}

}  // namespace

const Pool& pool_of(lib::Family family) {
    static const Pool of_ipv4 = make_ipv4_pool();
    static const Pool of_ipv6 = make_ipv6_pool();
    return family == lib::Family::ipv4 ? of_ipv4 : of_ipv6;
}

}  // namespace flowtap::fuzz
