// Opening: what our sealer and OpenSSL made opens, and everything else is refused by its name.
#include "crypto/opener.h"

#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>

namespace flowtap::test {
namespace {

using crypto::Engine;
using crypto::Implementation;
using crypto::InboundSa;
using crypto::NextHeader;
using crypto::Opened;
using crypto::OpenVerdict;
using crypto::OutboundSa;

/// A plaintext with the trailer that it says: padding, pad length, next header.
Bytes plain_of(const Bytes& inner, const Bytes& padding, std::uint8_t next_header) {
    return concat({inner, padding,
                   std::array<std::uint8_t, 2>{static_cast<std::uint8_t>(padding.size()), next_header}});
}

OpenVerdict verdict_of(InboundSa& sa, Bytes packet) {
    auto opener = make_opener();
    const Opened opened = opener.open(sa, packet);
    CHECK(opened.inner.empty() == (opened.verdict != OpenVerdict::opened));
    return opened.verdict;
}

TEST_CASE("what the sealer seals opens to the same inner packet, at every size") {
    std::mt19937_64 random(5);
    for (const Implementation implementation : implementations()) {
        auto opener = make_opener(implementation);
        auto sealer = make_sealer(implementation);
        const auto sa = OutboundSa::create(opener.engine(), outbound()).value();
        const auto in = InboundSa::create(opener.engine(), {.spi = spi, .key = key()}).value();
        for (std::size_t size = 20; size <= 2000; ++size) {
            const bool version6 = size >= 40 && random() % 2 == 0;
            const Bytes inner = version6 ? ipv6_packet(random, size) : ipv4_packet(random, size);
            Bytes packet = seal(sealer, *sa, inner);
            const Opened opened = opener.open(*in, std::span(packet).subspan(20));
            REQUIRE(opened.verdict == OpenVerdict::opened);
            REQUIRE(Bytes(opened.inner.begin(), opened.inner.end()) == inner);
            REQUIRE(opened.next_header == (version6 ? NextHeader::ipv6 : NextHeader::ipv4));
            REQUIRE(opened.sequence == size - 19);
            REQUIRE(opened.iv == size - 19);
        }
    }
}

TEST_CASE("what OpenSSL sealed opens; longer padding and TFC padding are stripped") {
    std::mt19937_64 random(5);
    const auto sa = make_inbound();
    auto opener = make_opener();
    std::uint32_t sequence = 0;
    for (const std::size_t tfc : {0UL, 1UL, 4UL, 300UL}) {
        for (std::size_t padded = 0; padded <= 255; ++padded) {
            const std::size_t size = 40 + (4 - (padded + tfc + 2) % 4) % 4;
            const Bytes inner = sequence % 2 == 0 ? ipv4_packet(random, size) : ipv6_packet(random, size);
            Bytes padding(padded);
            std::ranges::generate(padding, [n = std::uint8_t{0}]() mutable { return ++n; });
            Bytes packet = esp_of(++sequence, plain_of(concat({inner, random_bytes(random, tfc)}), padding,
                                                       inner[0] >> 4 == 4 ? 4 : 41));
            const Opened opened = opener.open(*sa, packet);
            REQUIRE(opened.verdict == OpenVerdict::opened);
            REQUIRE(Bytes(opened.inner.begin(), opened.inner.end()) == inner);
        }
    }
}

TEST_CASE("a packet cut short is refused, wherever it is cut") {
    std::mt19937_64 random(5);
    const auto sa = make_inbound();
    const Bytes packet = esp_of(1, plain_of(ipv4_packet(random, 62), {}, 4));
    for (std::size_t size = 0; size < packet.size(); ++size) {
        const OpenVerdict verdict =
            verdict_of(*sa, Bytes(packet.begin(), packet.begin() + static_cast<long>(size)));
        INFO(size << " of " << packet.size() << " bytes");
        CHECK(verdict == (size < 8 + 8 + 2 + 16             ? OpenVerdict::truncated
                          : (packet.size() - size) % 4 != 0 ? OpenVerdict::misaligned
                                                            : OpenVerdict::bad_icv));
    }
    CHECK(verdict_of(*sa, packet) == OpenVerdict::opened);
}

TEST_CASE("a change of any bit is refused, and moves no window") {
    std::mt19937_64 random(5);
    const auto sa = make_inbound();
    const Bytes packet = esp_of(1, plain_of(ipv4_packet(random, 30), {}, 4));
    for (std::size_t bit = 0; bit < 8 * packet.size(); ++bit) {
        Bytes changed = packet;
        changed[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> bit % 8);
        const OpenVerdict verdict = verdict_of(*sa, changed);
        INFO("bit " << bit);
        if (bit < 32) {
            REQUIRE(verdict == OpenVerdict::wrong_spi);
        } else if (bit == 63) {  // 1 becomes 0
            REQUIRE(verdict == OpenVerdict::zero_sequence);
        } else {
            REQUIRE(verdict == OpenVerdict::bad_icv);
        }
    }
    CHECK(verdict_of(*sa, packet) == OpenVerdict::opened);
}

TEST_CASE("text that failed the ICV check is wiped") {
    std::mt19937_64 random(5);
    const auto sa = make_inbound();
    Bytes packet = esp_of(1, plain_of(ipv4_packet(random, 30), {}, 4));
    packet.back() ^= 1;
    auto opener = make_opener();
    CHECK(opener.open(*sa, packet).verdict == OpenVerdict::bad_icv);
    CHECK(
        std::ranges::all_of(std::span(packet).subspan(16, 32), [](std::uint8_t byte) { return byte == 0; }));
}

TEST_CASE("padding has to be 1, 2, 3, ... and inside of the packet") {
    std::mt19937_64 random(5);
    const auto sa = make_inbound(std::nullopt);
    const Bytes inner = ipv4_packet(random, 31);
    CHECK(verdict_of(*sa, esp_of(1, plain_of(inner, {1, 2, 3}, 4))) == OpenVerdict::opened);
    CHECK(verdict_of(*sa, esp_of(1, plain_of(inner, {0, 0, 0}, 4))) == OpenVerdict::bad_padding);
    CHECK(verdict_of(*sa, esp_of(1, plain_of(inner, {1, 2, 4}, 4))) == OpenVerdict::bad_padding);
    CHECK(verdict_of(*sa, esp_of(1, plain_of(inner, {2, 2, 3}, 4))) == OpenVerdict::bad_padding);
    CHECK(verdict_of(*sa, esp_of(1, Bytes{1, 2, 2, 4})) ==
          OpenVerdict::bad_inner);  // all padding, nothing inside
    CHECK(verdict_of(*sa, esp_of(1, Bytes{1, 2, 3, 4})) == OpenVerdict::bad_padding);
    CHECK(verdict_of(*sa, esp_of(1, Bytes{1, 2, 255, 4})) == OpenVerdict::bad_padding);
}

TEST_CASE("only IPv4 and IPv6 are opened, dummies are called so, and the inner header has to be possible") {
    std::mt19937_64 random(5);
    const auto sa = make_inbound(std::nullopt);
    const auto verdict = [&](const Bytes& inner, std::uint8_t next_header) {
        Bytes padding;
        while ((inner.size() + padding.size() + 2) % 4 != 0) {
            padding.push_back(static_cast<std::uint8_t>(padding.size() + 1));
        }
        return verdict_of(*sa, esp_of(1, plain_of(inner, padding, next_header)));
    };
    const Bytes ipv4 = ipv4_packet(random, 60);
    const Bytes ipv6 = ipv6_packet(random, 60);
    CHECK(verdict(ipv4, 4) == OpenVerdict::opened);
    CHECK(verdict(ipv6, 41) == OpenVerdict::opened);
    CHECK(verdict(ipv4, 59) == OpenVerdict::dummy);
    CHECK(verdict(ipv4, 6) == OpenVerdict::bad_next_header);
    CHECK(verdict(ipv4, 0) == OpenVerdict::bad_next_header);
    CHECK(verdict(ipv4, 41) == OpenVerdict::bad_inner);
    CHECK(verdict(ipv6, 4) == OpenVerdict::bad_inner);

    const auto changed = [&](Bytes packet, std::size_t at, std::uint8_t value) {
        packet[at] = value;
        return verdict(packet, packet[0] >> 4 == 6 ? 41 : 4);
    };
    CHECK(changed(ipv4, 3, 61) == OpenVerdict::bad_inner);    // total length beyond what came
    CHECK(changed(ipv4, 3, 19) == OpenVerdict::bad_inner);    // and below a header
    CHECK(changed(ipv4, 0, 0x44) == OpenVerdict::bad_inner);  // header of 16 bytes
    CHECK(changed(ipv4, 0, 0x4f) == OpenVerdict::opened);     // header of 60 bytes, as long as the packet
    CHECK(changed(ipv6, 5, 21) == OpenVerdict::bad_inner);
    CHECK(changed(ipv6, 5, 0) == OpenVerdict::opened);  // a bare header, then TFC padding
    CHECK(verdict(Bytes(19, 0x45), 4) == OpenVerdict::bad_inner);
    CHECK(verdict(Bytes(39, 0x60), 41) == OpenVerdict::bad_inner);
}

TEST_CASE("the replay window refuses what was seen and what is too old, but only after a good ICV") {
    std::mt19937_64 random(5);
    const auto sa = make_inbound(64);
    const Bytes plain = plain_of(ipv4_packet(random, 30), {}, 4);
    Bytes forged = esp_of(5000, plain);
    forged.back() ^= 1;
    CHECK(verdict_of(*sa, forged) == OpenVerdict::bad_icv);
    CHECK(verdict_of(*sa, esp_of(100, plain)) == OpenVerdict::opened);
    CHECK(verdict_of(*sa, esp_of(100, plain)) == OpenVerdict::replayed);
    CHECK(verdict_of(*sa, esp_of(37, plain)) == OpenVerdict::opened);
    CHECK(verdict_of(*sa, esp_of(37, plain)) == OpenVerdict::replayed);
    CHECK(verdict_of(*sa, esp_of(36, plain)) == OpenVerdict::too_old);
    CHECK(verdict_of(*sa, esp_of(0, plain)) == OpenVerdict::zero_sequence);
    CHECK(verdict_of(*sa, esp_of(0xffffffff, plain)) == OpenVerdict::opened);
    CHECK(verdict_of(*sa, esp_of(101, plain)) == OpenVerdict::too_old);
    // A packet with a good ICV is seen, whatever is wrong inside.
    CHECK(verdict_of(*sa, esp_of(0xfffffffe, plain_of(ipv4_packet(random, 30), {}, 6))) ==
          OpenVerdict::bad_next_header);
    CHECK(verdict_of(*sa, esp_of(0xfffffffe, plain)) == OpenVerdict::replayed);

    const auto without = make_inbound(std::nullopt);
    CHECK(verdict_of(*without, esp_of(100, plain)) == OpenVerdict::opened);
    CHECK(verdict_of(*without, esp_of(100, plain)) == OpenVerdict::opened);
}

TEST_CASE("another key does not open, and a schedule of another implementation is not used") {
    std::mt19937_64 random(5);
    const Bytes plain = plain_of(ipv4_packet(random, 30), {}, 4);
    auto opener = make_opener();
    for (const std::size_t byte : {std::size_t{0}, std::size_t{31}, std::size_t{32}, std::size_t{35}}) {
        Bytes other(key().begin(), key().end());
        other[byte] ^= 1;
        const auto sa = InboundSa::create(opener.engine(), {.spi = spi, .key = other}).value();
        CHECK(verdict_of(*sa, esp_of(1, plain)) == OpenVerdict::bad_icv);
    }
    for (const Implementation implementation : implementations()) {
        if (implementation != opener.engine().implementation()) {
            const auto sa =
                InboundSa::create(Engine::create(implementation).value(), {.spi = spi, .key = key()}).value();
            CHECK(verdict_of(*sa, esp_of(1, plain)) == OpenVerdict::no_cipher);
        }
    }
}

}  // namespace
}  // namespace flowtap::test
