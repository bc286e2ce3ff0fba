// The ciphers themselves: published vectors, OpenSSL, and the start test that refuses wrong ones.
#include "crypto/engine.h"

#include "crypto/ipsec_mb.h"
#include "crypto/known_answers.h"
#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>

namespace flowtap::test {
namespace {

using crypto::Engine;
using crypto::InboundSa;
using crypto::Opened;
using crypto::OpenVerdict;
using crypto::verify_known_answers;

struct Gcm {
    IMB_MGR* manager;
    gcm_key_data schedule{};
    gcm_context_data context{};

    Gcm(IMB_MGR* imb, std::span<const std::uint8_t> key) : manager(imb) {
        IMB_AES256_GCM_PRE(manager, key.data(), &schedule);
    }
    Bytes seal(const Bytes& nonce, const Bytes& aad, Bytes& text) {
        Bytes tag(16);
        IMB_AES256_GCM_ENC(manager, &schedule, &context, text.data(), text.data(), text.size(), nonce.data(),
                           aad.data(), aad.size(), tag.data(), tag.size());
        return tag;
    }
};

struct Vector {
    std::string_view key, nonce, aad, plain, cipher, tag;
};

constexpr std::string_view zero_key = "0000000000000000000000000000000000000000000000000000000000000000";
constexpr std::string_view feff_key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
constexpr std::string_view feff_plain =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
    "b16aedf5aa0de657ba637b391aafd255";
constexpr std::string_view feff_cipher =
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
    "c5f61e6393ba7a0abcc9f662898015ad";

/// McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B: the test cases with 256-bit keys and
/// 96-bit IVs (13 to 16).
constexpr std::array<Vector, 4> published{{
    {zero_key, "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {zero_key, "000000000000000000000000", "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
    {feff_key, "cafebabefacedbaddecaf888", "", feff_plain, feff_cipher, "b094dac5d93471bdec1a502270e3cc6c"},
    {feff_key, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     feff_plain.substr(0, 120), feff_cipher.substr(0, 120), "76fc6ece0f4e1768cddf8853bb2d551b"},
}};

TEST_CASE("every implementation gives the published AES-256-GCM test cases") {
    REQUIRE_FALSE(implementations().empty());
    for (const auto implementation : implementations()) {
        const auto engine = Engine::create(implementation);
        REQUIRE(engine.has_value());
        CHECK(engine->implementation() == implementation);
        for (const Vector& vector : published) {
            Gcm gcm(engine->manager(), from_hex(vector.key));
            Bytes text = from_hex(vector.plain);
            const Bytes tag = gcm.seal(from_hex(vector.nonce), from_hex(vector.aad), text);
            CHECK(text == from_hex(vector.cipher));
            CHECK(tag == from_hex(vector.tag));
        }
    }
}

TEST_CASE("every implementation agrees with OpenSSL at every size from 0 to 2000") {
    std::mt19937_64 random(1);
    for (const auto implementation : implementations()) {
        const auto engine = Engine::create(implementation);
        REQUIRE(engine.has_value());
        for (std::size_t size = 0; size <= 2000; ++size) {
            const Bytes key = random_bytes(random, 32);
            const Bytes nonce = random_bytes(random, 12);
            const Bytes aad = random_bytes(random, 8);
            Bytes ours = random_bytes(random, size);
            Bytes theirs = ours;
            Bytes their_tag(16);
            const Bytes our_tag = Gcm(engine->manager(), key).seal(nonce, aad, ours);
            openssl_seal(key, nonce, aad, theirs, their_tag);
            INFO(to_string(implementation) << ", " << size << " bytes");
            REQUIRE(ours == theirs);
            REQUIRE(our_tag == their_tag);
        }
    }
}

TEST_CASE("the automatic engine is one of those") {
    const auto engine = Engine::create();
    REQUIRE(engine.has_value());
    CHECK_THAT(implementations(), Catch::VectorContains(engine->implementation()));
}

aes_gcm_enc_dec_t right_cipher = nullptr;

/// Right but for one bit of the last byte of text.
void wrong_text(const gcm_key_data* schedule, gcm_context_data* context, std::uint8_t* out,
                const std::uint8_t* in, std::uint64_t length, const std::uint8_t* nonce,
                const std::uint8_t* aad, std::uint64_t aad_length, std::uint8_t* tag,
                std::uint64_t tag_length) {
    right_cipher(schedule, context, out, in, length, nonce, aad, aad_length, tag, tag_length);
    out[length - 1] ^= 1;
}

/// Right but for the tags of long texts.
void wrong_long_tag(const gcm_key_data* schedule, gcm_context_data* context, std::uint8_t* out,
                    const std::uint8_t* in, std::uint64_t length, const std::uint8_t* nonce,
                    const std::uint8_t* aad, std::uint64_t aad_length, std::uint8_t* tag,
                    std::uint64_t tag_length) {
    right_cipher(schedule, context, out, in, length, nonce, aad, aad_length, tag, tag_length);
    tag[15] ^= length >= 1500 ? 0x80 : 0;
}

TEST_CASE("an engine that computes wrong is refused by the known answers") {
    const auto engine = Engine::create();
    REQUIRE(engine.has_value());
    IMB_MGR& manager = *engine->manager();
    CHECK(verify_known_answers(manager).has_value());

    right_cipher = std::exchange(manager.gcm256_enc, wrong_text);
    CHECK_THAT(verify_known_answers(manager).error(), Catch::Contains("encryption of the 52-byte"));
    manager.gcm256_enc = wrong_long_tag;
    CHECK_THAT(verify_known_answers(manager).error(), Catch::Contains("encryption of the 1500-byte"));
    manager.gcm256_enc = right_cipher;

    right_cipher = std::exchange(manager.gcm256_dec, wrong_text);
    CHECK_THAT(verify_known_answers(manager).error(), Catch::Contains("decryption of the 52-byte"));
    manager.gcm256_dec = wrong_long_tag;
    CHECK_THAT(verify_known_answers(manager).error(), Catch::Contains("decryption of the 1500-byte"));
}

TEST_CASE("the published ESP packet opens to its published plaintext") {
    // draft-mcgrew-gcm-test-01 section 4. It is a transport-mode packet (next header ICMP): tunnel mode
    // refuses it, but only after cipher, ICV and padding came out right.
    const Bytes key = from_hex("abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344");
    const Bytes plain = from_hex(
        "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b401010402"
        "01020201");
    Bytes packet = from_hex(
        "4a2cbfe3000000020102030405060708ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763"
        "748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c4915956c96");
    for (const auto implementation : implementations()) {
        Bytes buffer = packet;
        auto opener = make_opener(implementation);
        const auto sa = InboundSa::create(opener.engine(), {.spi = lib::Spi{0x4a2cbfe3}, .key = key});
        REQUIRE(sa.has_value());
        const Opened opened = opener.open(**sa, buffer);
        CHECK(opened.verdict == OpenVerdict::bad_next_header);
        CHECK(opened.sequence == 2);
        CHECK(opened.iv == 0x0102030405060708);
        CHECK(Bytes(buffer.begin() + 16, buffer.end() - 16) == plain);
    }
}

}  // namespace
}  // namespace flowtap::test
