// Our own AES-GCM against OpenSSL's: every size, and every way to have the text in pieces.
#include "crypto/gather_gcm.h"

#include "crypto/ipsec_mb.h"
#include "crypto/key_tables.h"
#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

namespace flowtap::test {
namespace {

using crypto::GatherKeys;
using crypto::GatherTerms;
using crypto::GatherText;

constexpr std::size_t around = 96;  // more than a vector

/// The tables of a suite's key; null where the processor has not what gather_gcm() takes.
std::unique_ptr<crypto::KeyTables> tables_of(lib::Suite suite) {
    const auto engine = crypto::Engine::create().value();
    if (!crypto::can_gather(*engine.manager())) {
        return nullptr;
    }
    auto tables = std::make_unique<crypto::KeyTables>();
    REQUIRE(crypto::expand(*engine.manager(), *lib::find_suite(suite), key_of(suite), *tables));
    REQUIRE(tables->gather.round_count == (suite == lib::Suite::aes_128_gcm_16 ? 10 : 14));
    return tables;
}

constexpr std::array<std::uint8_t, 4> salt{0xa1, 0xb2, 0xc3, 0xd4};

GatherTerms terms(bool extended) {
    return {.salt = std::bit_cast<std::uint32_t>(salt), .aad_size = extended ? 12U : 8U};
}

/// One packet: its pieces, and what is to come of them.
class Packet {
  public:
    Packet(std::mt19937_64& random, lib::Suite suite, std::size_t size, std::size_t head, std::size_t trailer,
           bool extended, bool in_place)
        : plain_(random_bytes(random, size)),
          nonce_(concat({salt, random_bytes(random, 8)})),
          aad_(random_bytes(random, extended ? 12 : 8)),
          buffer_(around + size + 16 + around, 0xee),
          expected_(buffer_) {
        std::ranges::copy(plain_, expected_.begin() + around);
        const auto place = std::span(expected_).subspan(around);
        const auto cipher_key = lib::find_suite(suite)->cipher_key_size;
        const Bytes key = key_of(suite);
        openssl_seal(std::span(key).first(cipher_key), nonce_, aad_, place.first(size),
                     place.subspan(size, 16));

        const std::size_t length = size - trailer;
        text_ = {.text = buffer_.data() + around,
                 .body = plain_.data() + head,
                 .trailer = plain_.data() + length,
                 .head = static_cast<std::uint32_t>(head),
                 .length = static_cast<std::uint32_t>(length),
                 .size = static_cast<std::uint32_t>(size)};
        std::copy_n(plain_.begin(), in_place ? length : head, text_.text);
        if (in_place) {
            text_.body = text_.text + head;
        }
        std::memcpy(&text_.iv, nonce_.data() + 4, 8);
        std::memcpy(&text_.aad_low, aad_.data(), 8);
        std::memcpy(&text_.aad_high, aad_.data() + 8, aad_.size() - 8);
    }
    Packet(const Packet&) = delete;
    Packet& operator=(const Packet&) = delete;

    const GatherText& text() const { return text_; }
    /// The text as OpenSSL has it, its tag, and every byte beside them as it was.
    bool is_right() const { return buffer_ == expected_; }

  private:
    Bytes plain_;
    Bytes nonce_;
    Bytes aad_;
    Bytes buffer_;
    Bytes expected_;
    GatherText text_;
};

TEST_CASE("a text of any size in any pieces is encrypted as OpenSSL does it, and nothing beside it written") {
    for (const lib::Suite suite : {lib::Suite::aes_256_gcm_16, lib::Suite::aes_128_gcm_16}) {
        const auto tables = tables_of(suite);
        if (tables == nullptr) {
            WARN("no VAES, VPCLMULQDQ or AVX-512 here");
            return;
        }
        std::mt19937_64 random(7);
        for (std::size_t size = 16; size < 1700; ++size) {
            for (unsigned variant = 0; variant < 8; ++variant) {
                const bool extended = (variant & 1) != 0;
                const bool in_place = (variant & 2) != 0;
                const std::size_t trailer = random() % 17;
                const std::size_t length = size - trailer;
                const std::size_t head =
                    (variant & 4) != 0
                        ? std::min<std::size_t>(length, crypto::largest_gather_head - size % 3)
                        : random() % (std::min<std::size_t>(length, crypto::largest_gather_head) + 1);
                Packet packet(random, suite, size, head, trailer, extended, in_place);
                gather_gcm(tables->gather, terms(extended), &packet.text(), 1);
                INFO(size << " bytes, head " << head << ", trailer " << trailer << ", variant " << variant);
                REQUIRE(packet.is_right());
            }
        }
    }
}

TEST_CASE("the counter of a text of many blocks is carried over its bytes") {
    const auto tables = tables_of(lib::Suite::aes_256_gcm_16);
    if (tables == nullptr) {
        return;
    }
    std::mt19937_64 random(8);
    for (const std::size_t size : {std::size_t{4'064}, std::size_t{4'080}, std::size_t{4'081},
                                   std::size_t{9'000}, std::size_t{65'535}, std::size_t{1} << 20}) {
        Packet packet(random, lib::Suite::aes_256_gcm_16, size, 28, 2, false, false);
        gather_gcm(tables->gather, terms(false), &packet.text(), 1);
        INFO(size);
        REQUIRE(packet.is_right());
    }
}

TEST_CASE("packets of one burst do not disturb each other") {
    const auto tables = tables_of(lib::Suite::aes_256_gcm_16);
    if (tables == nullptr) {
        return;
    }
    std::mt19937_64 random(9);
    for (unsigned round = 0; round < 100; ++round) {
        const bool extended = round % 2 == 0;
        const std::size_t largest = round % 4 < 2 ? 200 : 2000;
        std::vector<std::unique_ptr<Packet>> packets;
        std::vector<GatherText> texts;
        for (std::size_t i = 0; i < 64; ++i) {
            packets.push_back(std::make_unique<Packet>(random, lib::Suite::aes_256_gcm_16,
                                                       30 + random() % largest, 28, 2, extended, i % 5 == 0));
            texts.push_back(packets.back()->text());
        }
        gather_gcm(tables->gather, terms(extended), texts.data(), texts.size());
        for (const auto& packet : packets) {
            REQUIRE(packet->is_right());
        }
    }
}

}  // namespace
}  // namespace flowtap::test
