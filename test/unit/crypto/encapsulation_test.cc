// TFC padding (RFC 4303 section 2.7) and UDP encapsulation (RFC 3948).
#include "crypto/big_endian.h"
#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <set>

namespace flowtap::test {
namespace {

using crypto::InboundSa;
using crypto::load_big_endian;
using crypto::Opened;
using crypto::OpenVerdict;
using crypto::SealJob;
using crypto::SealVerdict;
using lib::Family;
using lib::SuiteInfo;

TEST_CASE("with a padded length packets of all sizes look alike, and open to what they were") {
    std::mt19937_64 random(31);
    auto sealer = make_sealer();
    auto opener = make_opener();
    for (const SuiteInfo& suite : lib::suites) {
        INFO(suite.name);
        const Bytes material = key_of(suite.suite);
        auto parameters = outbound(suite.suite, material);
        parameters.padded_length = 1001;
        const auto sa = make_sa(parameters);
        const auto in =
            InboundSa::create(opener.engine(), {.spi = spi, .suite = suite.suite, .key = material}).value();
        std::vector<Bytes> inners;
        for (std::size_t size = 20; size <= 1001; size += 1 + size / 20) {
            inners.push_back(ipv4_packet(random, size));
        }
        inners.push_back(ipv4_packet(random, 1001));
        std::set<std::size_t> lengths;
        const std::vector<Bytes> packets = seal_all(sealer, *sa, inners);
        for (std::size_t i = 0; i < packets.size(); ++i) {
            lengths.insert(packets[i].size());
            Bytes esp(packets[i].begin() + 20, packets[i].end());
            const auto plain = oracle_of(suite.suite).open(esp, i + 1);
            REQUIRE(plain.has_value());
            Bytes filled = inners[i];
            filled.resize(1001);  // zeros: nothing of the buffer's earlier content leaves
            REQUIRE(*plain == with_trailer(suite, filled, 4));
            const Opened opened = opener.open(*in, esp);
            REQUIRE(opened.verdict == OpenVerdict::opened);
            REQUIRE(Bytes(opened.inner.begin(), opened.inner.end()) == inners[i]);
        }
        CHECK(lengths.size() == 1);
        // Longer ones go in fragments of that length where they can, and as they are where they cannot.
        CHECK(sa->largest_inner(9000) == 1001);
        CHECK(sa->largest_inner(*lengths.begin()) == 1001);
        CHECK(sa->largest_inner(*lengths.begin() - 1) == 0);
        CHECK(seal(sealer, *sa, ipv4_packet(random, 2000)).size() == 20 + lib::esp_size(suite, 2000));
    }
}

TEST_CASE(
    "a packet whose header says another length is not padded, since nobody could take the padding off") {
    std::mt19937_64 random(34);
    auto sealer = make_sealer();
    for (const std::uint16_t padded : {std::uint16_t{0}, std::uint16_t{300}}) {
        auto parameters = outbound();
        parameters.padded_length = padded;
        const auto sa = make_sa(parameters);
        for (Bytes inner : {ipv4_packet(random, 100), ipv6_packet(random, 100)}) {
            const auto verdict = [&](const Bytes& packet) {
                Bytes buffer(sa->sealed_size(packet.size()));
                std::ranges::copy(packet, buffer.begin() + static_cast<std::ptrdiff_t>(sa->headroom()));
                std::array<SealJob, 1> jobs{
                    {{.inner = buffer.data() + sa->headroom(),
                      .length = static_cast<std::uint32_t>(packet.size()),
                      .room = static_cast<std::uint32_t>(buffer.size() - sa->headroom())}}};
                static_cast<void>(sealer.seal_burst(sa->take(1), jobs));
                return jobs[0].verdict;
            };
            CHECK(verdict(inner) == SealVerdict::sealed);
            const std::size_t low_byte = inner[0] >> 4 == 4 ? 3 : 5;
            for (const int by : {-1, 1, 20}) {
                Bytes other = inner;
                other[low_byte] = static_cast<std::uint8_t>(other[low_byte] + by);
                CHECK(verdict(other) == (padded == 0 ? SealVerdict::sealed : SealVerdict::wrong_length));
            }
        }
    }
}

TEST_CASE("padding to a length wipes what was in the buffer") {
    std::mt19937_64 random(32);
    auto sealer = make_sealer();
    auto parameters = outbound();
    parameters.padded_length = 500;
    const auto sa = make_sa(parameters);
    const Bytes inner = ipv4_packet(random, 30);
    Bytes buffer(sa->sealed_size(30), 0xee);
    std::ranges::copy(inner, buffer.begin() + static_cast<std::ptrdiff_t>(sa->headroom()));
    std::array<SealJob, 1> jobs{{{.inner = buffer.data() + sa->headroom(),
                                  .length = 30,
                                  .room = static_cast<std::uint32_t>(buffer.size() - sa->headroom())}}};
    jobs[0].room -= 1;
    CHECK(sealer.seal_burst(sa->take(1), jobs) == 0);
    CHECK(jobs[0].verdict == SealVerdict::no_room);
    jobs[0].room += 1;
    REQUIRE(sealer.seal_burst(sa->take(1), jobs) == 1);
    const auto plain = oracle_of(lib::Suite::aes_256_gcm_16).open(std::span(buffer).subspan(20), 2);
    REQUIRE(plain.has_value());
    CHECK(
        std::all_of(plain->begin() + 30, plain->begin() + 500, [](std::uint8_t byte) { return byte == 0; }));
}

std::uint32_t sum_of(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += std::uint32_t{bytes[i]} << (i % 2 == 0 ? 8 : 0);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

TEST_CASE("in UDP, ESP follows a header of port 4500 whose length and checksum are right") {
    std::mt19937_64 random(33);
    auto sealer = make_sealer();
    auto opener = make_opener();
    for (const SuiteInfo& suite : lib::suites) {
        const Bytes material = key_of(suite.suite);
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            auto parameters = outbound(suite.suite, material, family);
            parameters.udp_encapsulation = true;
            const auto sa = make_sa(parameters);
            const auto in =
                InboundSa::create(opener.engine(), {.spi = spi, .suite = suite.suite, .key = material})
                    .value();
            for (std::size_t size = 20; size < 1600; size += 1 + size / 6) {
                INFO(suite.name << ", " << size << " bytes");
                const Bytes inner = ipv4_packet(random, size);
                Bytes packet = seal(sealer, *sa, inner);
                const std::span<std::uint8_t> all = packet;
                const std::size_t ip = family == Family::ipv4 ? 20 : 40;
                const auto udp = all.subspan(ip);
                REQUIRE(all[family == Family::ipv4 ? 9 : 6] == 17);
                REQUIRE(load_big_endian<std::uint16_t>(all.data() + (family == Family::ipv4 ? 2 : 4)) ==
                        (family == Family::ipv4 ? packet.size() : udp.size()));
                REQUIRE(load_big_endian<std::uint16_t>(udp.data()) == 4500);
                REQUIRE(load_big_endian<std::uint16_t>(udp.data() + 2) == 4500);
                REQUIRE(load_big_endian<std::uint16_t>(udp.data() + 4) == udp.size());
                if (family == Family::ipv4) {
                    REQUIRE(load_big_endian<std::uint16_t>(udp.data() + 6) == 0);
                    REQUIRE(sum_of(all.first(20)) == 0xffff);
                } else {
                    const auto length = static_cast<std::uint32_t>(udp.size());
                    REQUIRE(sum_of(udp, sum_of(all.subspan(8, 32), 17 + length)) == 0xffff);
                }
                const Opened opened = opener.open(*in, udp.subspan(8));
                REQUIRE(opened.verdict == OpenVerdict::opened);
                REQUIRE(Bytes(opened.inner.begin(), opened.inner.end()) == inner);
            }
        }
    }
}

}  // namespace
}  // namespace flowtap::test
