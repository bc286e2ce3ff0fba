// Every suite against OpenSSL, both ways, and what each refuses.
#include "crypto/big_endian.h"
#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <set>
#include <string>

namespace flowtap::test {
namespace {

using crypto::InboundSa;
using crypto::load_big_endian;
using crypto::Opened;
using crypto::OpenVerdict;
using crypto::OutboundSa;
using crypto::SealJob;
using crypto::SealVerdict;
using lib::Family;
using lib::SuiteInfo;

Bytes inner_packet(std::mt19937_64& random, std::size_t size) {
    return size >= 40 && random() % 2 == 0 ? ipv6_packet(random, size) : ipv4_packet(random, size);
}

std::uint8_t next_header_of(const Bytes& inner) {
    return inner[0] >> 4 == 4 ? 4 : 41;
}

std::unique_ptr<InboundSa> inbound_of(const crypto::Engine& engine, const SuiteInfo& suite,
                                      std::optional<std::size_t> window = 64) {
    const Bytes material = key_of(suite.suite);
    return InboundSa::create(engine, {.spi = spi, .suite = suite.suite, .key = material, .window = window})
        .value();
}

Bytes iv_of(std::mt19937_64& random, const SuiteInfo& suite) {
    return random_bytes(random, suite.iv_size);
}

/// Small ones all, then samples up to 9,000 bytes.
std::vector<std::size_t> sizes(std::mt19937_64& random) {
    std::vector<std::size_t> all;
    for (std::size_t size = 20; size < 120; ++size) {
        all.push_back(size);
    }
    for (std::size_t i = 0; i < 12; ++i) {
        all.push_back(120 + random() % 8881);
    }
    std::ranges::shuffle(all, random);
    return all;
}

TEST_CASE("what every suite seals in bursts, OpenSSL opens, and so do we") {
    for (const auto implementation : implementations()) {
        std::mt19937_64 random(11);
        auto sealer = make_sealer(implementation);
        auto opener = make_opener(implementation);
        for (const SuiteInfo& suite : lib::suites) {
            const Bytes material = key_of(suite.suite);
            const EspOracle oracle = oracle_of(suite.suite);
            for (const Family outer : {Family::ipv4, Family::ipv6}) {
                const auto sa =
                    OutboundSa::create(opener.engine(), outbound(suite.suite, material, outer)).value();
                const auto inbound = inbound_of(opener.engine(), suite);
                std::uint64_t sequence = 0;
                std::vector<Bytes> inners;
                for (const std::size_t size : sizes(random)) {
                    inners.push_back(inner_packet(random, size));
                }
                for (std::span<const Bytes> rest = inners; !rest.empty();) {
                    const auto burst = rest.first(std::min<std::size_t>(1 + random() % 100, rest.size()));
                    std::vector<Bytes> packets = seal_all(sealer, *sa, burst);
                    for (std::size_t i = 0; i < burst.size(); ++i) {
                        ++sequence;
                        INFO(to_string(implementation)
                             << " " << suite.name << ", " << burst[i].size() << " bytes");
                        const auto esp = std::span(packets[i]).subspan(outer == Family::ipv4 ? 20 : 40);
                        REQUIRE(load_big_endian<std::uint32_t>(esp.data()) == std::to_underlying(spi));
                        REQUIRE(load_big_endian<std::uint32_t>(esp.data() + 4) == sequence);
                        REQUIRE(esp.size() == lib::esp_size(suite, burst[i].size()));
                        const auto plain = oracle.open(esp, sequence);
                        REQUIRE(plain.has_value());
                        REQUIRE(*plain == with_trailer(suite, burst[i], next_header_of(burst[i])));
                        const Opened opened = opener.open(*inbound, esp);
                        REQUIRE(opened.verdict == OpenVerdict::opened);
                        REQUIRE(opened.sequence == sequence);
                        REQUIRE(Bytes(opened.inner.begin(), opened.inner.end()) == burst[i]);
                    }
                    rest = rest.subspan(burst.size());
                }
            }
        }
    }
}

TEST_CASE("what OpenSSL seals, every suite opens; longer padding and TFC padding are stripped") {
    for (const auto implementation : implementations()) {
        std::mt19937_64 random(12);
        auto opener = make_opener(implementation);
        for (const SuiteInfo& suite : lib::suites) {
            const EspOracle oracle = oracle_of(suite.suite);
            const auto sa = inbound_of(opener.engine(), suite);
            std::uint32_t sequence = 0;
            for (const std::size_t size : sizes(random)) {
                const Bytes inner = inner_packet(random, size);
                const Bytes filled = concat({inner, Bytes(random() % 3 == 0 ? random() % 100 : 0)});
                Bytes plain = with_trailer(suite, filled, next_header_of(inner));
                if (const std::size_t more = random() % 3 * 16; plain[plain.size() - 2] + more <= 255) {
                    std::uint8_t padding = plain[plain.size() - 2];
                    plain.resize(plain.size() - 2);
                    for (std::size_t i = 0; i < more; ++i) {
                        plain.push_back(++padding);
                    }
                    plain.insert(plain.end(), {padding, next_header_of(inner)});
                }
                Bytes packet = oracle.seal(std::to_underlying(spi), ++sequence, iv_of(random, suite), plain);
                INFO(to_string(implementation) << " " << suite.name << ", " << size << " bytes");
                const Opened opened = opener.open(*sa, packet);
                REQUIRE(opened.verdict == OpenVerdict::opened);
                REQUIRE(Bytes(opened.inner.begin(), opened.inner.end()) == inner);
            }
        }
    }
}

TEST_CASE("every suite refuses by name: cut, changed, misaligned, replayed, of another SPI, badly padded") {
    std::mt19937_64 random(13);
    auto opener = make_opener();
    for (const SuiteInfo& suite : lib::suites) {
        INFO(suite.name);
        const EspOracle oracle = oracle_of(suite.suite);
        const auto sa = inbound_of(opener.engine(), suite);
        const auto number = std::to_underlying(spi);
        const Bytes inner = ipv4_packet(random, 45);
        const Bytes packet = oracle.seal(number, 7, iv_of(random, suite), with_trailer(suite, inner, 4));
        const auto verdict = [&](Bytes changed) {
            const Opened opened = opener.open(*sa, changed);
            REQUIRE(opened.inner.empty() == (opened.verdict != OpenVerdict::opened));
            return opened.verdict;
        };
        const std::size_t around = std::size_t{8} + suite.iv_size + suite.icv_size;
        for (std::size_t size = 0; size < packet.size(); ++size) {
            INFO(size << " of " << packet.size() << " bytes");
            REQUIRE(verdict(Bytes(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(size))) ==
                    (size < around + 2                        ? OpenVerdict::truncated
                     : (size - around) % suite.alignment != 0 ? OpenVerdict::misaligned
                                                              : OpenVerdict::bad_icv));
        }
        for (std::size_t bit = 0; bit < 8 * packet.size(); ++bit) {
            Bytes changed = packet;
            changed[bit / 8] ^= static_cast<std::uint8_t>(0x80 >> bit % 8);
            INFO("bit " << bit);
            REQUIRE(verdict(changed) == (bit < 32 ? OpenVerdict::wrong_spi : OpenVerdict::bad_icv));
        }
        CHECK(verdict(packet) == OpenVerdict::opened);
        CHECK(verdict(packet) == OpenVerdict::replayed);
        CHECK(verdict(oracle.seal(number, 0, iv_of(random, suite), with_trailer(suite, inner, 4))) ==
              OpenVerdict::zero_sequence);
        CHECK(verdict(oracle.seal(number, 1000, iv_of(random, suite), with_trailer(suite, inner, 4))) ==
              OpenVerdict::opened);
        CHECK(verdict(oracle.seal(number, 936, iv_of(random, suite), with_trailer(suite, inner, 4))) ==
              OpenVerdict::too_old);
        CHECK(verdict(oracle.seal(number, 1001, iv_of(random, suite), with_trailer(suite, inner, 59))) ==
              OpenVerdict::dummy);
        Bytes bad = with_trailer(suite, inner, 4);
        bad[bad.size() - 3] ^= 1;  // 45 bytes have padding in every suite
        CHECK(verdict(oracle.seal(number, 1002, iv_of(random, suite), bad)) == OpenVerdict::bad_padding);
        bad = with_trailer(suite, inner, 4);
        bad[bad.size() - 2] = 200;
        CHECK(verdict(oracle.seal(number, 1003, iv_of(random, suite), bad)) == OpenVerdict::bad_padding);
        EspOracle other = oracle;
        other.key.back() ^= 1;
        CHECK(verdict(other.seal(number, 1004, iv_of(random, suite), with_trailer(suite, inner, 4))) ==
              OpenVerdict::bad_icv);
    }
}

TEST_CASE("text that failed the ICV check is wiped, with every suite") {
    std::mt19937_64 random(14);
    auto opener = make_opener();
    for (const SuiteInfo& suite : lib::suites) {
        const auto sa = inbound_of(opener.engine(), suite);
        const Bytes inner = ipv4_packet(random, 62);
        Bytes packet =
            oracle_of(suite.suite)
                .seal(std::to_underlying(spi), 1, iv_of(random, suite), with_trailer(suite, inner, 4));
        packet.back() ^= 1;
        CHECK(opener.open(*sa, packet).verdict == OpenVerdict::bad_icv);
        const auto text = std::span(packet).subspan(std::size_t{8} + suite.iv_size, 64);
        CHECK(std::ranges::all_of(text, [](std::uint8_t byte) { return byte == 0; }));
    }
}

/// The IV of the counter value as the design has it, by OpenSSL.
Bytes expected_iv(const SuiteInfo& suite, std::span<const std::uint8_t> material, std::uint64_t counter) {
    constexpr std::string_view label = "flowtap ESP IV key";
    Bytes derived(32);
    unsigned size = 0;
    HMAC(EVP_sha256(), material.data(), suite.cipher_key_size,
         reinterpret_cast<const unsigned char*>(label.data()), label.size(), derived.data(), &size);
    Bytes block(suite.iv_size);
    crypto::store_big_endian(block.data() + block.size() - 8, counter);
    const bool aes = suite.cipher == lib::Cipher::aes_cbc;
    EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
    int length = 0;
    REQUIRE(EVP_EncryptInit_ex(context, aes ? EVP_aes_128_ecb() : EVP_des_ede3_ecb(), nullptr, derived.data(),
                               nullptr) == 1);
    EVP_CIPHER_CTX_set_padding(context, 0);
    REQUIRE(EVP_EncryptUpdate(context, block.data(), &length, block.data(), static_cast<int>(block.size())) ==
            1);
    EVP_CIPHER_CTX_free(context);
    return block;
}

TEST_CASE("an IV of CBC is the encrypted counter: the same in no two packets, of no two lives of a key") {
    std::mt19937_64 random(15);
    auto sealer = make_sealer();
    for (const SuiteInfo& suite : lib::suites) {
        if (suite.combined()) {
            continue;
        }
        INFO(suite.name);
        const Bytes material = key_of(suite.suite);
        std::set<std::string> ivs;
        std::uint64_t counter = 0;
        for (int life = 0; life < 3; ++life) {  // as control has it: the lease goes on where it ended
            auto parameters = outbound(suite.suite, material);
            parameters.lease = {counter + 1, 100};
            const auto sa = make_sa(parameters);
            for (const std::size_t burst : {1UL, 63UL, 36UL}) {
                const std::vector<Bytes> inners(burst, ipv4_packet(random, 100));
                for (const Bytes& packet : seal_all(sealer, *sa, inners)) {
                    const auto iv = packet.begin() + 28;
                    const Bytes seen(iv, iv + suite.iv_size);
                    REQUIRE(seen == expected_iv(suite, material, ++counter));
                    REQUIRE(ivs.emplace(seen.begin(), seen.end()).second);
                }
            }
        }
        CHECK(ivs.size() == 300);
        // Another key, another order of IVs: who does not have it cannot tell the next one.
        Bytes other = material;
        other[0] ^= 2;
        CHECK(expected_iv(suite, other, 1) != expected_iv(suite, material, 1));
    }
}

TEST_CASE(
    "a refused packet in a burst changes nothing for the others, and not one byte beside them is written") {
    std::mt19937_64 random(16);
    auto sealer = make_sealer();
    auto opener = make_opener();
    constexpr std::size_t around = 64;
    for (const SuiteInfo& suite : lib::suites) {
        INFO(suite.name);
        const Bytes material = key_of(suite.suite);
        const auto sa = make_sa(outbound(suite.suite, material, Family::ipv6));
        const auto inbound = inbound_of(opener.engine(), suite, 4096);
        std::vector<Bytes> inners;
        std::vector<Bytes> buffers;
        std::vector<SealJob> jobs;
        constexpr std::size_t count = 150;
        for (std::size_t i = 0; i < count; ++i) {
            inners.push_back(ipv4_packet(random, 20 + random() % 1500));
            Bytes buffer(around + sa->sealed_size(inners[i].size()) + around, 0xee);
            std::copy_n(inners[i].begin(), i % 2 == 0 ? inners[i].size() : 20,
                        buffer.begin() + around + static_cast<std::ptrdiff_t>(sa->headroom()));
            buffers.push_back(std::move(buffer));
            SealJob job{.inner = buffers[i].data() + around + sa->headroom(),
                        .length = static_cast<std::uint32_t>(inners[i].size()),
                        .room = static_cast<std::uint32_t>(buffers[i].size() - 2 * around - sa->headroom())};
            if (i % 2 != 0) {  // its body is elsewhere
                job.body = inners[i].data() + 20;
                job.body_length = job.length - 20;
            }
            if (i % 7 == 3) {
                --job.room;
            }
            jobs.push_back(job);
        }
        const std::size_t beyond = 5;
        const std::size_t sealed = sealer.seal_burst(sa->take(count - beyond), jobs);
        CHECK(sealed ==
              static_cast<std::size_t>(std::ranges::count(jobs, SealVerdict::sealed, &SealJob::verdict)));
        for (std::size_t i = 0; i < count; ++i) {
            INFO("packet " << i);
            const std::span<std::uint8_t> buffer = buffers[i];
            const auto untouched = [](std::span<const std::uint8_t> bytes) {
                return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0xee; });
            };
            REQUIRE(untouched(buffer.first(around)));
            REQUIRE(untouched(buffer.last(around)));
            REQUIRE(jobs[i].verdict == (i >= count - beyond ? SealVerdict::no_counter
                                        : i % 7 == 3        ? SealVerdict::no_room
                                                            : SealVerdict::sealed));
            if (jobs[i].verdict != SealVerdict::sealed) {
                continue;
            }
            REQUIRE(jobs[i].sealed == buffer.data() + around);
            const auto esp = buffer.subspan(around + 40, jobs[i].sealed_length - 40);
            const Opened opened = opener.open(*inbound, esp);
            REQUIRE(opened.verdict == OpenVerdict::opened);
            REQUIRE(opened.sequence == i + 1);
            REQUIRE(Bytes(opened.inner.begin(), opened.inner.end()) == inners[i]);
        }
    }
}

}  // namespace
}  // namespace flowtap::test
