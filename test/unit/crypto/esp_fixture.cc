#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>
#include <openssl/evp.h>

#include <algorithm>
#include <utility>

namespace flowtap::test {
namespace {

struct FreeContext {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

unsigned digit_value(char digit) {
    return static_cast<unsigned>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

void put_number(Bytes& bytes, std::size_t at, std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i) {
        bytes[at + i] = static_cast<std::uint8_t>(value >> (8 * (width - 1 - i)));
    }
}

}  // namespace

std::span<const std::uint8_t> key() {
    static const Bytes bytes =
        from_hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fa0a1a2a3");
    return bytes;
}

Bytes key_of(lib::Suite suite) {
    if (suite == lib::Suite::aes_256_gcm_16) {
        return {key().begin(), key().end()};
    }
    Bytes bytes(lib::find_suite(suite)->key_material_size());
    std::ranges::generate(
        bytes, [n = std::uint8_t{0x3f}]() mutable { return n = static_cast<std::uint8_t>(n + 1); });
    return bytes;
}

EspOracle oracle_of(lib::Suite suite, bool extended) {
    return {suite, key_of(suite), extended};
}

Bytes from_hex(std::string_view digits) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
        bytes.push_back(static_cast<std::uint8_t>(digit_value(digits[i]) << 4 | digit_value(digits[i + 1])));
    }
    return bytes;
}

Bytes concat(std::initializer_list<std::span<const std::uint8_t>> parts) {
    Bytes all;
    for (const auto part : parts) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

Bytes random_bytes(std::mt19937_64& random, std::size_t size) {
    Bytes bytes(size);
    std::ranges::generate(bytes, [&] { return static_cast<std::uint8_t>(random()); });
    return bytes;
}

lib::IpAddress address(std::string_view text) {
    return lib::parse_address(text).value();
}

Bytes ipv4_packet(std::mt19937_64& random, std::size_t size, std::uint8_t ds) {
    Bytes packet = random_bytes(random, size);
    packet[0] = 0x45;
    packet[1] = ds;
    put_number(packet, 2, size, 2);
    return packet;
}

Bytes ipv6_packet(std::mt19937_64& random, std::size_t size, std::uint8_t ds) {
    Bytes packet = random_bytes(random, size);
    packet[0] = static_cast<std::uint8_t>(0x60 | ds >> 4);
    packet[1] = static_cast<std::uint8_t>(ds << 4 | (packet[1] & 0x0f));
    put_number(packet, 4, size - 40, 2);
    return packet;
}

crypto::Sealer make_sealer(crypto::Implementation implementation) {
    return crypto::Sealer::create(crypto::Engine::create(implementation).value()).value();
}

crypto::Opener make_opener(crypto::Implementation implementation) {
    return crypto::Opener::create(crypto::Engine::create(implementation).value()).value();
}

crypto::OutboundParameters outbound(lib::Family family) {
    const bool ipv4 = family == lib::Family::ipv4;
    return {.spi = spi,
            .key = key(),
            .local = address(ipv4 ? "100.100.100.100" : "2001:db8::100"),
            .remote = address(ipv4 ? "123.123.123.123" : "2001:db8:ffff::1"),
            .lease = {0, std::uint64_t{1} << 32}};
}

crypto::OutboundParameters outbound(lib::Suite suite, const Bytes& material, lib::Family family) {
    auto parameters = outbound(family);
    parameters.suite = suite;
    parameters.key = material;
    return parameters;
}

std::unique_ptr<crypto::OutboundSa> make_sa(const crypto::OutboundParameters& parameters) {
    return crypto::OutboundSa::create(crypto::Engine::create().value(), parameters).value();
}

std::unique_ptr<crypto::InboundSa> make_inbound(std::optional<std::size_t> window) {
    return crypto::InboundSa::create(crypto::Engine::create().value(),
                                     {.spi = spi, .key = key(), .window = window})
        .value();
}

std::vector<crypto::Implementation> implementations() {
    using enum crypto::Implementation;
    std::vector<crypto::Implementation> found;
    for (const auto each : {sse, avx, avx2, avx512}) {
        if (crypto::Engine::create(each)) {
            found.push_back(each);
        }
    }
    return found;
}

std::vector<Bytes> seal_all(crypto::Sealer& sealer, crypto::OutboundSa& sa, std::span<const Bytes> inners) {
    std::vector<Bytes> buffers;
    std::vector<crypto::SealJob> jobs;
    for (const Bytes& inner : inners) {
        Bytes buffer(sa.headroom());
        buffer.insert(buffer.end(), inner.begin(), inner.end());
        buffer.resize(sa.sealed_size(inner.size()));
        buffers.push_back(std::move(buffer));
        jobs.push_back({.inner = buffers.back().data() + sa.headroom(),
                        .length = static_cast<std::uint32_t>(inner.size()),
                        .room = static_cast<std::uint32_t>(buffers.back().size() - sa.headroom())});
    }
    const auto count = static_cast<std::uint32_t>(jobs.size());
    REQUIRE(sealer.seal_burst(sa.take(count), jobs) == count);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        REQUIRE(jobs[i].verdict == crypto::SealVerdict::sealed);
        REQUIRE(jobs[i].sealed == buffers[i].data());
        REQUIRE(jobs[i].sealed_length == buffers[i].size());
    }
    return buffers;
}

Bytes seal(crypto::Sealer& sealer, crypto::OutboundSa& sa, std::span<const std::uint8_t> inner) {
    const std::array<Bytes, 1> one{Bytes(inner.begin(), inner.end())};
    return std::move(seal_all(sealer, sa, one)[0]);
}

void openssl_seal(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce,
                  std::span<const std::uint8_t> aad, std::span<std::uint8_t> text,
                  std::span<std::uint8_t> tag) {
    const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> context(EVP_CIPHER_CTX_new());
    int length = 0;
    std::array<std::uint8_t, 16> nothing{};
    REQUIRE(EVP_EncryptInit_ex(context.get(), key.size() == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm(),
                               nullptr, key.data(), nonce.data()) == 1);
    REQUIRE(EVP_EncryptUpdate(context.get(), nullptr, &length, aad.data(), static_cast<int>(aad.size())) ==
            1);
    REQUIRE(EVP_EncryptUpdate(context.get(), text.data(), &length, text.data(),
                              static_cast<int>(text.size())) == 1);
    REQUIRE(EVP_EncryptFinal_ex(context.get(), nothing.data(), &length) == 1);
    REQUIRE(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, 16, tag.data()) == 1);
}

bool openssl_open(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce,
                  std::span<const std::uint8_t> aad, std::span<std::uint8_t> text,
                  std::span<const std::uint8_t> tag) {
    const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> context(EVP_CIPHER_CTX_new());
    int length = 0;
    std::array<std::uint8_t, 16> nothing{};
    Bytes expected(tag.begin(), tag.end());
    REQUIRE(EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.data(), nonce.data()) == 1);
    REQUIRE(EVP_DecryptUpdate(context.get(), nullptr, &length, aad.data(), static_cast<int>(aad.size())) ==
            1);
    REQUIRE(EVP_DecryptUpdate(context.get(), text.data(), &length, text.data(),
                              static_cast<int>(text.size())) == 1);
    REQUIRE(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, 16, expected.data()) == 1);
    return EVP_DecryptFinal_ex(context.get(), nothing.data(), &length) == 1;
}

Bytes esp_of(std::uint32_t sequence, std::span<const std::uint8_t> plain, std::uint64_t iv) {
    Bytes packet(8 + 8);
    put_number(packet, 0, std::to_underlying(spi), 4);
    put_number(packet, 4, sequence, 4);
    put_number(packet, 8, iv, 8);
    const Bytes nonce = concat({key().subspan(32, 4), std::span(packet).subspan(8, 8)});
    const Bytes aad(packet.begin(), packet.begin() + 8);
    packet.insert(packet.end(), plain.begin(), plain.end());
    packet.resize(packet.size() + 16);
    const std::span<std::uint8_t> all = packet;
    openssl_seal(key().first(32), nonce, aad, all.subspan(16, plain.size()), all.last(16));
    return packet;
}

}  // namespace flowtap::test
