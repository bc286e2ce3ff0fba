// The headers of copies, and their cutting into fragments. Checksums are computed here from the RFCs, word by
// word.
#include "dataplane/encapsulation.h"

#include <catch2/catch.hpp>
#include <rte_ip.h>

#include <algorithm>
#include <random>
#include <vector>

namespace {

using namespace flowtap::dataplane;
namespace lib = flowtap::lib;
using Bytes = std::vector<std::uint8_t>;

/// RFC 1071, over big-endian words; 0xffff when the checksum in the data is right.
std::uint32_t ones_sum(const Bytes& data, std::uint32_t sum = 0) {
    for (std::size_t i = 0; i < data.size(); ++i) {
        sum += static_cast<std::uint32_t>(data[i]) << (i % 2 == 0 ? 8U : 0U);
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

std::uint32_t word(const Bytes& data, std::size_t at) {
    return static_cast<std::uint32_t>(data[at] << 8 | data[at + 1]);
}

lib::TapDestination destination(lib::Family family) {
    lib::TapDestination result;
    result.family = family;
    result.ttl = 61;
    result.dscp = 46;
    result.dest_port = 0x1234;
    result.source_port = 0xfedc;
    for (std::size_t i = 0; i < lib::address_size(family); ++i) {
        result.dest_address[i] = static_cast<std::uint8_t>(0xa0 + i);
        result.source_address[i] = static_cast<std::uint8_t>(0x10 + 3 * i);
    }
    return result;
}

Bytes body_of(std::size_t length) {
    std::mt19937 random(static_cast<unsigned>(length));
    Bytes body(length);
    std::ranges::generate(body, [&] { return static_cast<std::uint8_t>(random()); });
    return body;
}

/// All IP packets that the copy of the body becomes.
std::vector<Bytes> packets(const Encapsulation& encapsulation, const Bytes& body, std::uint32_t largest,
                           std::uint32_t identification) {
    const Datagram datagram{.body_length = static_cast<std::uint32_t>(body.size()),
                            .body_sum = rte_raw_cksum(body.data(), body.size()),
                            .identification = identification};
    std::vector<Bytes> result;
    for (std::uint32_t offset = 0;;) {
        const Piece piece = next_piece(encapsulation, datagram, offset, largest);
        Bytes packet(header_size(encapsulation, piece));
        write_piece(encapsulation, datagram, piece, packet.data());
        packet.insert(packet.end(), body.begin() + piece.body_offset(),
                      body.begin() + piece.body_offset() + piece.body_length());
        result.push_back(packet);
        offset += piece.length;
        if (!piece.more) {
            break;
        }
    }
    CHECK(result.size() == count_pieces(encapsulation, datagram, largest));
    return result;
}

TEST_CASE("an IPv4 header is what delivery.md asks for", "[dtcp:7.cdest-ttl]") {
    const Encapsulation encapsulation = make_encapsulation(destination(lib::Family::ipv4));
    for (const std::size_t length : {0U, 1U, 20U, 1500U, 9216U, 65'507U}) {
        const Bytes body = body_of(length);
        const Bytes packet = packets(encapsulation, body, 65'535, 0x1'0042).at(0);
        INFO(length);
        CHECK(packet[0] == 0x45);
        CHECK(packet[1] == 46 << 2);
        CHECK(word(packet, 2) == 28 + length);
        CHECK(word(packet, 4) == 0x0042);
        CHECK(word(packet, 6) == 0);  // DF clear, no fragment
        CHECK(packet[8] == 61);
        CHECK(packet[9] == 17);
        CHECK(ones_sum(Bytes(packet.begin(), packet.begin() + 20)) == 0xffff);
        CHECK(word(packet, 20) == 0xfedc);
        CHECK(word(packet, 22) == 0x1234);
        CHECK(word(packet, 24) == 8 + length);
        CHECK(word(packet, 26) == 0);
        CHECK(std::equal(body.begin(), body.end(), packet.begin() + 28));
    }
}

TEST_CASE("an IPv6 destination's UDP checksum is right for every length, and never 0") {
    const Encapsulation encapsulation = make_encapsulation(destination(lib::Family::ipv6));
    for (std::size_t length = 0; length < 300; ++length) {
        const Bytes packet = packets(encapsulation, body_of(length), 65'535, 0).at(0);
        CHECK((word(packet, 0) >> 4) == (0x600U | 46U << 2U));
        CHECK(word(packet, 4) == 8 + length);
        CHECK(packet[6] == 17);
        CHECK(packet[7] == 61);
        // RFC 8200 section 8.1: addresses, length, next header, then UDP header and data.
        const std::uint32_t pseudo = ones_sum(Bytes(packet.begin() + 8, packet.begin() + 40)) +
                                     static_cast<std::uint32_t>(8 + length) + 17;
        CHECK(ones_sum(Bytes(packet.begin() + 40, packet.end()), pseudo) == 0xffff);
        CHECK(word(packet, 46) != 0);
    }
    // A body chosen so that the sum comes out as 0, which would say "no checksum".
    Bytes body{0, 0};
    const Bytes probe = packets(encapsulation, body, 65'535, 0).at(0);
    body = {probe[46], probe[47]};
    CHECK(word(packets(encapsulation, body, 65'535, 0).at(0), 46) == 0xffff);
}

TEST_CASE("fragments fit, follow one another without gap or overlap, and hold the whole datagram") {
    for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
        const Encapsulation encapsulation = make_encapsulation(destination(family));
        const std::size_t ip = encapsulation.ip_size();
        for (const std::uint32_t largest : {100U, 101U, 576U, 1280U, 1443U, 1500U}) {
            // Where the last fragment is full to the byte, one more byte makes another one.
            const auto full =
                static_cast<std::size_t>(largest - ip - (family == lib::Family::ipv4 ? 0 : 8)) / 8 * 8;
            for (const std::size_t length :
                 {std::size_t{1}, full - 9, full - 8, full - 7, 2 * full - 8, 2 * full - 7, 3 * full - 8,
                  std::size_t{2900}, std::size_t{9202}}) {
                INFO(largest << " " << length << (family == lib::Family::ipv4 ? " IPv4" : " IPv6"));
                const Bytes body = body_of(length);
                const auto all = packets(encapsulation, body, largest, 0x00abcdef);
                Bytes payload;
                for (std::size_t i = 0; i < all.size(); ++i) {
                    const Bytes& packet = all[i];
                    REQUIRE(packet.size() <= largest);
                    const bool last = i + 1 == all.size();
                    std::size_t header = ip;
                    if (family == lib::Family::ipv4) {
                        CHECK(word(packet, 2) == packet.size());
                        CHECK(word(packet, 4) == 0xcdef);
                        CHECK(word(packet, 6) == (payload.size() / 8 | (last ? 0U : 0x2000U)));
                        CHECK(ones_sum(Bytes(packet.begin(), packet.begin() + 20)) == 0xffff);
                    } else if (all.size() == 1) {
                        CHECK(packet[6] == 17);
                    } else {
                        header += 8;
                        CHECK(word(packet, 4) == packet.size() - 40);
                        CHECK(packet[6] == 44);
                        CHECK(packet[40] == 17);
                        CHECK(word(packet, 42) == (payload.size() | (last ? 0U : 1U)));
                        CHECK(word(packet, 44) << 16 == 0x00ab0000);
                        CHECK(word(packet, 46) == 0xcdef);
                    }
                    CHECK(packet.size() > header);
                    payload.insert(payload.end(), packet.begin() + static_cast<std::ptrdiff_t>(header),
                                   packet.end());
                    CHECK((last || payload.size() % 8 == 0));
                }
                REQUIRE(payload.size() == 8 + length);
                CHECK(word(payload, 4) == 8 + length);
                CHECK(std::equal(body.begin(), body.end(), payload.begin() + 8));
            }
        }
    }
}

TEST_CASE("the mirror header follows the UDP header, once, and every length and checksum counts it",
          "[dtcp:7.intercept-id]") {
    for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
        auto to = destination(family);
        to.shim = lib::Shim::jmirror;
        to.shim_bytes = {0x01, 0x02, 0x03, 0x04, 0xf5, 0xf6, 0xf7, 0xf9};
        const Encapsulation encapsulation = make_encapsulation(to);
        const Encapsulation plain = make_encapsulation(destination(family));
        const std::size_t ip = encapsulation.ip_size();
        CHECK(encapsulation.size() == plain.size() + 8);
        for (const std::size_t length : {0U, 1U, 40U, 1399U, 1456U, 1457U, 2801U, 9202U}) {
            const Bytes body = body_of(length);
            Bytes with_shim(to.shim_bytes.begin(), to.shim_bytes.end());
            with_shim.insert(with_shim.end(), body.begin(), body.end());
            for (const std::uint32_t largest : {65'535U, 1500U, 576U}) {
                INFO(length << " " << largest);
                // As if the header were the beginning of what is carried.
                CHECK(packets(encapsulation, body, largest, 7) == packets(plain, with_shim, largest, 7));
            }
            const Bytes packet = packets(encapsulation, body, 65'535, 7).at(0);
            CHECK(std::equal(to.shim_bytes.begin(), to.shim_bytes.end(),
                             packet.begin() + static_cast<std::ptrdiff_t>(ip + 8)));
        }
    }
}

TEST_CASE("the headers of a copy that is not cut are the same by the short way") {
    for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
        for (const lib::Shim shim : {lib::Shim{}, lib::Shim::jmirror}) {
            auto to = destination(family);
            to.shim = shim;
            to.shim_bytes = {0x01, 0x02, 0x03, 0x04, 0xf5, 0xf6, 0xf7, 0xf9};
            const Encapsulation encapsulation = make_encapsulation(to);
            for (std::uint32_t length = 0; length < 9300; ++length) {
                const Datagram datagram{.body_length = length,
                                        .body_sum = static_cast<std::uint16_t>(length * 40'503),
                                        .identification = length * 0x9e37'79b9};
                const Piece piece = next_piece(encapsulation, datagram, 0, 65'535);
                std::array<std::uint8_t, 2 * header_room> exact;
                std::array<std::uint8_t, 2 * header_room> wide;
                exact.fill(0xee);
                wide.fill(0xee);
                write_piece(encapsulation, datagram, piece, exact.data());
                write_whole(encapsulation, datagram, wide.data());
                const std::size_t size = header_size(encapsulation, piece);
                INFO(length << " " << size);
                REQUIRE(std::equal(exact.begin(), exact.begin() + size, wide.begin()));
                // And not more than it may.
                REQUIRE(std::all_of(wide.begin() + header_room, wide.end(),
                                    [](std::uint8_t byte) { return byte == 0xee; }));
            }
        }
    }
}

}  // namespace
