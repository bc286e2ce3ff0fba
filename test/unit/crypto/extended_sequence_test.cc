// Sequence numbers of 64 bits, of which 32 are sent: sealing, opening, the window across the wrap (RFC 4303
// section 2.2.1 and appendix A).
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
using lib::SuiteInfo;

constexpr std::uint64_t wrap = std::uint64_t{1} << 32;

std::unique_ptr<InboundSa> inbound(const crypto::Engine& engine, lib::Suite suite, std::uint64_t highest,
                                   std::optional<std::size_t> window = 64) {
    const Bytes material = key_of(suite);
    return InboundSa::create(engine, {.spi = spi,
                                      .suite = suite,
                                      .key = material,
                                      .window = window,
                                      .extended_sequence = true,
                                      .highest = highest})
        .value();
}

TEST_CASE("sealing goes on across 2^32: the low half is sent, the whole is authenticated, with every suite") {
    std::mt19937_64 random(21);
    for (const auto implementation : implementations()) {
        auto sealer = make_sealer(implementation);
        auto opener = make_opener(implementation);
        for (const SuiteInfo& suite : lib::suites) {
            const Bytes material = key_of(suite.suite);
            auto parameters = outbound(suite.suite, material);
            parameters.extended_sequence = true;
            const std::uint64_t first = 3 * wrap - 20;
            parameters.lease = {first, 1000};
            const auto sa = crypto::OutboundSa::create(opener.engine(), parameters).value();
            const auto in = inbound(opener.engine(), suite.suite, first - 1);
            const EspOracle oracle = oracle_of(suite.suite, true);
            const EspOracle narrow = oracle_of(suite.suite, false);
            std::vector<Bytes> inners;
            for (std::size_t i = 0; i < 50; ++i) {
                inners.push_back(ipv4_packet(random, 20 + random() % 1500));
            }
            const std::vector<Bytes> packets = seal_all(sealer, *sa, inners);
            for (std::size_t i = 0; i < packets.size(); ++i) {
                INFO(to_string(implementation) << " " << suite.name << ", packet " << i);
                const std::uint64_t sequence = first + i;
                Bytes esp(packets[i].begin() + 20, packets[i].end());
                REQUIRE(load_big_endian<std::uint32_t>(esp.data() + 4) == (sequence & UINT32_MAX));
                REQUIRE(esp.size() == lib::esp_size(suite, inners[i].size()));
                REQUIRE(oracle.open(esp, sequence) == with_trailer(suite, inners[i], 4));
                REQUIRE_FALSE(oracle.open(esp, sequence - wrap).has_value());
                REQUIRE_FALSE(narrow.open(esp, sequence).has_value());
                const Opened opened = opener.open(*in, esp);
                REQUIRE(opened.verdict == OpenVerdict::opened);
                REQUIRE(opened.sequence == sequence);
                REQUIRE(Bytes(opened.inner.begin(), opened.inner.end()) == inners[i]);
            }
        }
    }
}

TEST_CASE("the window holds across the wrap: late packets open once, replays and too old ones do not") {
    std::mt19937_64 random(22);
    auto opener = make_opener();
    for (const SuiteInfo& suite : lib::suites) {
        INFO(suite.name);
        const EspOracle oracle = oracle_of(suite.suite, true);
        const Bytes plain = with_trailer(suite, ipv4_packet(random, 70), 4);
        const auto in = inbound(opener.engine(), suite.suite, 0);
        const auto verdict = [&](std::uint64_t sequence) {
            Bytes packet =
                oracle.seal(std::to_underlying(spi), sequence, random_bytes(random, suite.iv_size), plain);
            const Opened opened = opener.open(*in, packet);
            if (opened.verdict == OpenVerdict::opened) {
                REQUIRE(opened.sequence == sequence);
            }
            return opened.verdict;
        };
        CHECK(verdict(1000) == OpenVerdict::opened);
        CHECK(verdict(wrap - 30) == OpenVerdict::opened);
        CHECK(verdict(wrap - 1) == OpenVerdict::opened);
        CHECK(verdict(wrap) == OpenVerdict::opened);  // low half 0
        CHECK(verdict(wrap) == OpenVerdict::replayed);
        CHECK(verdict(wrap + 5) == OpenVerdict::opened);
        CHECK(verdict(wrap - 2) == OpenVerdict::opened);
        CHECK(verdict(wrap - 2) == OpenVerdict::replayed);
        CHECK(verdict(wrap - 30) == OpenVerdict::replayed);
        CHECK(verdict(wrap - 58) == OpenVerdict::opened);
        // Left of the window the appendix takes a number for one of the next 2^32, where it is not authentic.
        CHECK(verdict(wrap - 59) == OpenVerdict::bad_icv);
        CHECK(verdict(wrap + 2000) == OpenVerdict::opened);
        CHECK(verdict(wrap + 5) == OpenVerdict::bad_icv);
        CHECK(verdict(wrap + 1937) == OpenVerdict::opened);
        CHECK(verdict(2 * wrap + 1) == OpenVerdict::opened);  // a whole round but one window was lost
        CHECK(verdict(2 * wrap + 1 + (wrap >> 4)) == OpenVerdict::opened);
    }
}

TEST_CASE("before the first 2^32 a number that lies before 0 is too old, and 0 itself is no number") {
    std::mt19937_64 random(23);
    auto opener = make_opener();
    const auto suite = lib::Suite::aes_256_gcm_16;
    const EspOracle oracle = oracle_of(suite, true);
    const Bytes plain = with_trailer(*lib::find_suite(suite), ipv4_packet(random, 70), 4);
    const auto in = inbound(opener.engine(), suite, 0);
    for (const std::uint64_t sequence : {wrap - 1, wrap - 63}) {
        Bytes packet = oracle.seal(std::to_underlying(spi), sequence, Bytes(8), plain);
        CHECK(opener.open(*in, packet).verdict == OpenVerdict::too_old);
    }
    Bytes packet = oracle.seal(std::to_underlying(spi), 0, Bytes(8), plain);
    CHECK(opener.open(*in, packet).verdict == OpenVerdict::zero_sequence);
    packet = oracle.seal(std::to_underlying(spi), wrap - 64, Bytes(8), plain);
    CHECK(opener.open(*in, packet).verdict == OpenVerdict::opened);
}

/// RFC 4303 appendix A2.2 in its own words, on 32-bit halves.
std::uint64_t high_by_the_appendix(std::uint32_t high, std::uint32_t top, std::uint32_t window,
                                   std::uint32_t low) {
    if (top >= window - 1) {  // the window is within one round
        return low >= top - window + 1 ? std::uint64_t{high} : std::uint64_t{high} + 1;
    }
    return low >= top - window + 1 ? std::uint64_t{high} - 1 : std::uint64_t{high};
}

TEST_CASE("the high half is the one of RFC 4303 appendix A2.2, wherever the window stands") {
    std::mt19937_64 random(24);
    const auto engine = crypto::Engine::create().value();
    for (const std::size_t window : {64UL, 100UL, 4096UL}) {
        const auto in = inbound(engine, lib::Suite::aes_256_gcm_16, 0, window);
        for (int i = 0; i < 20'000; ++i) {
            const auto near = [&] { return static_cast<std::uint32_t>(random() % (3 * window) - window); };
            const std::uint32_t high = 1 + static_cast<std::uint32_t>(random() % 1000);
            const std::uint32_t top = random() % 4 == 0 ? static_cast<std::uint32_t>(random()) : near();
            const std::uint32_t low = random() % 4 == 0 ? static_cast<std::uint32_t>(random()) : top + near();
            in->restart(std::uint64_t{high} << 32 | top);
            INFO(high << " " << top << " " << low << ", window " << window);
            REQUIRE(in->whole_sequence(low) ==
                    (high_by_the_appendix(high, top, static_cast<std::uint32_t>(window), low) << 32 | low));
        }
    }
    const auto in = inbound(engine, lib::Suite::aes_256_gcm_16, UINT64_MAX - 10);
    CHECK(in->whole_sequence(5) == std::nullopt);  // beyond 2^64
}

TEST_CASE("without anti-replay a number is the one that is nearest to the highest, and may come again") {
    std::mt19937_64 random(25);
    auto opener = make_opener();
    const auto suite = lib::Suite::aes_128_cbc_hmac_sha_256_128;
    const EspOracle oracle = oracle_of(suite, true);
    const Bytes plain = with_trailer(*lib::find_suite(suite), ipv4_packet(random, 70), 4);
    const auto in = inbound(opener.engine(), suite, 0, std::nullopt);
    for (const std::uint64_t sequence :
         {std::uint64_t{1}, wrap / 2 - 5, wrap - 10, wrap + 10, wrap - 10, wrap + 10, wrap + wrap / 4,
          wrap - wrap / 4 + 1, 2 * wrap - wrap / 4}) {
        Bytes packet = oracle.seal(std::to_underlying(spi), sequence, Bytes(16), plain);
        const Opened opened = opener.open(*in, packet);
        CHECK(opened.verdict == OpenVerdict::opened);
        CHECK(opened.sequence == sequence);
    }
}

TEST_CASE("without anti-replay one may begin to listen anywhere before 2^32") {
    const auto engine = crypto::Engine::create().value();
    for (const std::uint64_t sequence : {std::uint64_t{1}, wrap / 2, wrap - 1}) {
        const auto in = inbound(engine, lib::Suite::aes_256_gcm_16, 0, std::nullopt);
        CHECK(in->whole_sequence(static_cast<std::uint32_t>(sequence)) == sequence);
    }
}

TEST_CASE("a forged packet does not move the high half") {
    std::mt19937_64 random(26);
    auto opener = make_opener();
    const auto suite = lib::Suite::chacha20_poly1305;
    const EspOracle oracle = oracle_of(suite, true);
    const Bytes plain = with_trailer(*lib::find_suite(suite), ipv4_packet(random, 70), 4);
    const auto in = inbound(opener.engine(), suite, wrap - 100);
    Bytes forged = oracle.seal(std::to_underlying(spi), wrap + 50, Bytes(8), plain);
    forged.back() ^= 1;
    CHECK(opener.open(*in, forged).verdict == OpenVerdict::bad_icv);
    Bytes packet = oracle.seal(std::to_underlying(spi), wrap - 99, Bytes(8), plain);
    CHECK(opener.open(*in, packet).verdict == OpenVerdict::opened);
}

}  // namespace
}  // namespace flowtap::test
