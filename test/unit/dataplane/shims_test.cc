// The shims byte by byte, as their vendors and lib/shims.h define them, written out by hand here; and what
// the variable parts say.
#include "lib/shims.h"

#include "dataplane/copy_numbers.h"
#include "dataplane/encapsulation.h"
#include "dataplane/tap_copies.h"
#include "test/support/destination.h"

#include <catch2/catch.hpp>
#include <rte_ip.h>

#include <algorithm>
#include <vector>

namespace {

using namespace flowtap::dataplane;
namespace lib = flowtap::lib;
using Bytes = std::vector<std::uint8_t>;

lib::TapDestination destination(lib::Family family, lib::Shim shim, std::array<std::uint8_t, 8> bytes) {
    lib::TapDestination result = flowtap::test::some_destination(family);
    result.shim = shim;
    result.shim_bytes = bytes;
    return result;
}

const Bytes body{0x45, 0, 0, 21, 0xde, 0xad};

/// RFC 768 and RFC 8200 section 8.1, over the packet as it leaves.
bool checksum_is_right(const Bytes& packet) {
    std::uint32_t sum = 17;
    const auto add = [&](std::size_t from, std::size_t to) {
        for (std::size_t i = from; i < to; ++i) {
            sum += static_cast<std::uint32_t>(packet[i]) << ((i - from) % 2 == 0 ? 8U : 0U);
        }
    };
    add(8, 40);
    add(40, packet.size());
    sum += static_cast<std::uint32_t>(packet.size() - 40);
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum == 0xffff;
}

struct Made {
    Bytes packet;
    std::size_t ip = 0;

    Bytes payload() const { return {packet.begin() + static_cast<std::ptrdiff_t>(ip) + 8, packet.end()}; }
};

/// A copy of the body. `complete(udp header)` does what belongs to a variable shim.
template <typename Complete>
Made make(const lib::TapDestination& to, bool cut, Complete complete) {
    const Encapsulation encapsulation = make_encapsulation(to);
    const Datagram datagram{.body_length = static_cast<std::uint32_t>(body.size()),
                            .body_sum = rte_raw_cksum(body.data(), body.size()),
                            .identification = 1};
    Made made{Bytes(256, 0xee), encapsulation.ip_size()};
    if (cut) {
        write_piece(encapsulation, datagram, next_piece(encapsulation, datagram, 0, 1500),
                    made.packet.data());
    } else {
        write_whole(encapsulation, datagram, made.packet.data());
    }
    complete(encapsulation, made.packet.data() + made.ip);
    made.packet.resize(encapsulation.size());
    made.packet.insert(made.packet.end(), body.begin(), body.end());
    return made;
}

Bytes and_body(Bytes shim) {
    shim.insert(shim.end(), body.begin(), body.end());
    return shim;
}

const auto nothing = [](const Encapsulation&, std::uint8_t*) {};

TEST_CASE("Cisco's shim is the content connection id") {
    for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
        for (const bool cut : {false, true}) {
            const Made made =
                make(destination(family, lib::Shim::cisco, {0x12, 0x34, 0x56, 0x78}), cut, nothing);
            CHECK(made.payload() == and_body({0x12, 0x34, 0x56, 0x78}));
            CHECK((family == lib::Family::ipv4 || checksum_is_right(made.packet)));
        }
    }
}

TEST_CASE("Nokia's shim is 01, direction, 29 bits of intercept id, session id") {
    const std::array<std::uint8_t, 8> bytes{0x5f, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0};
    for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
        for (const bool cut : {false, true}) {
            const auto to = destination(family, lib::Shim::nokia_l3, bytes);
            const Made from = make(to, cut, nothing);
            CHECK(from.payload() == and_body({0x5f, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0}));
            const Made towards = make(to, cut, set_to_target);
            CHECK(towards.payload() == and_body({0x7f, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0}));
            CHECK((family == lib::Family::ipv4 || checksum_is_right(from.packet)));
            CHECK((family == lib::Family::ipv4 || checksum_is_right(towards.packet)));
        }
    }
}

TEST_CASE("our shim is what lib/shims.h says, and the next copy's number is one more") {
    for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
        for (const bool cut : {false, true}) {
            CopyNumbers numbers(0x0102'0304'0000'0000, 0x7a7b'7c7d);
            numbers.lose(2);
            Numbering numbering;
            const auto complete = [&](const Encapsulation& encapsulation, std::uint8_t* udp) {
                numbering.add(numbers, {.shim = udp + 8,
                                        .checksum = checksum_place(encapsulation, udp),
                                        .arrival = 0x1718'191a'1b1c'1d1e,
                                        .flags = lib::shim_flag::to_target | lib::shim_flag::fragment,
                                        .copy = 0});
                numbering.number();
                numbering.clear();
            };
            const auto to = destination(family, lib::Shim::flowtap, {0x7a, 0x7b, 0x7c, 0x7d});
            const Made made = make(to, cut, complete);
            CHECK(made.payload() ==
                  and_body({0xf1, 0x07, 0x7a, 0x90,                          // magic
                            0x01,                                            // version
                            0x05,                                            // to the target, a fragment
                            0x00, 0x00,                                      // reserved
                            0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, 0x02,  // sequence number
                            0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e,  // arrival
                            0x7a, 0x7b, 0x7c, 0x7d,                          // criteria id
                            0x00, 0x00, 0x00, 0x02}));                       // dropped
            CHECK((family == lib::Family::ipv4 || checksum_is_right(made.packet)));
            CHECK(make(to, cut, complete).payload()[15] == 3);
        }
    }
}

TEST_CASE("a checksum that comes out as 0 after the shim is added says 0xffff") {
    std::array<std::uint8_t, 2> checksum{0x12, 0x33};
    const std::array<std::uint8_t, 2> added{0x12, 0x33};
    add_to_checksum(checksum.data(), added.data(), added.size());
    CHECK(checksum == std::array<std::uint8_t, 2>{0xff, 0xff});
}

flowtap::dataplane::match::Headers frame(const char* source, const char* dest) {
    flowtap::dataplane::match::Headers headers{};
    headers.family = lib::parse_address(source)->family;
    headers.source = lib::parse_address(source)->bytes;
    headers.dest = lib::parse_address(dest)->bytes;
    return headers;
}

lib::AddressList list(const char* address, bool negated = false) {
    const lib::IpAddress host = *lib::parse_address(address);
    return {{host, host, negated}};
}

TEST_CASE("what comes from the named side is from the target; without one, what came in at side a") {
    using enum Direction;
    const auto out = frame("10.0.0.1", "198.51.100.9");
    const auto in = frame("198.51.100.9", "10.0.0.1");
    const auto direction = [](const lib::Criterion& criterion, const auto& headers, bool at_b) {
        return DirectionRule::of(criterion)(headers, at_b);
    };
    for (const bool at_b : {false, true}) {
        const Direction by_port = at_b ? to_target : from_target;
        lib::Criterion source;
        source.source_address = list("10.0.0.1");
        CHECK(direction(source, out, at_b) == from_target);
        lib::Criterion dest;
        dest.dest_address = list("10.0.0.1");
        CHECK(direction(dest, in, at_b) == to_target);
        lib::Criterion host;
        host.either_address = *lib::parse_address("10.0.0.1");
        CHECK(direction(host, out, at_b) == from_target);
        CHECK(direction(host, in, at_b) == to_target);
        CHECK(direction(host, frame("192.0.2.1", "192.0.2.2"), at_b) == by_port);  // inside of a tunnel
        CHECK(direction(host, frame("::a00:1", "::1"), at_b) == by_port);
        lib::Criterion both = source;
        both.dest_address = list("198.51.100.9");
        CHECK(direction(both, out, at_b) == by_port);
        lib::Criterion excluded;
        excluded.source_address = list("192.0.2.1", true);
        CHECK(direction(excluded, out, at_b) == by_port);
        excluded.dest_address = list("10.0.0.1");
        CHECK(direction(excluded, in, at_b) == to_target);
        CHECK(direction({}, out, at_b) == by_port);
    }
}

TEST_CASE("only a tap whose shims ask for it keeps a direction, and only ours has numbers") {
    const auto made = [](lib::Shim shim) {
        auto copies = std::make_unique<TapCopies>();
        std::array<std::uint8_t, 8> bytes{};
        bytes[3] = 9;
        add_target(*copies, destination(lib::Family::ipv4, shim, bytes), {}, {}, 1ULL << 32);
        return copies;
    };
    for (const lib::Shim shim : {lib::Shim::raw, lib::Shim::jmirror, lib::Shim::cisco}) {
        const auto copies = made(shim);
        CHECK_FALSE(copies->direction);
        CHECK_FALSE(copies->targets[0].variable_shim);
        CHECK(copies->targets[0].numbers == nullptr);
    }
    CHECK(made(lib::Shim::nokia_l3)->direction);
    CHECK(made(lib::Shim::nokia_l3)->targets[0].numbers == nullptr);
    const auto ours = made(lib::Shim::flowtap);
    CHECK(ours->direction);
    REQUIRE(ours->targets[0].numbers != nullptr);
    CHECK(ours->targets[0].numbers->next == 1ULL << 32);
    CHECK(ours->targets[0].numbers->criteria_id == 9);
}

}  // namespace
