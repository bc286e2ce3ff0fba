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
    manager.gcm256_dec = right_cipher;

    right_cipher = std::exchange(manager.gcm128_enc, wrong_long_tag);
    CHECK_THAT(verify_known_answers(manager).error(),
               Catch::Contains("encryption of the 1500-byte case of aes-128-gcm-16"));
}

/// Right but for one bit of a job's ICV or of its text: of which jobs, and in how many lanes, the test says.
struct Damage {
    burst_fn_t right = nullptr;
    IMB_CIPHER_MODE cipher{};
    std::uint64_t key_size = 0;
    IMB_HASH_ALG hash{};
    IMB_CIPHER_DIRECTION direction{};
    std::uint32_t spared = 0;  ///< jobs that are left right
} damage;

std::uint32_t wrong_in_some(IMB_MGR* manager, const std::uint32_t count, IMB_JOB** jobs) {
    const std::uint32_t done = damage.right(manager, count, jobs);
    for (std::uint32_t i = 0; i < done; ++i) {
        IMB_JOB& job = *jobs[i];
        if (job.cipher_mode == damage.cipher && job.key_len_in_bytes == damage.key_size &&
            job.hash_alg == damage.hash && job.cipher_direction == damage.direction) {
            if (damage.spared != 0) {
                --damage.spared;
            } else if (damage.direction == IMB_DIR_ENCRYPT) {
                job.auth_tag_output[0] ^= 1;
            } else {
                job.dst[0] ^= 1;
            }
        }
    }
    return done;
}

TEST_CASE("one wrong lane of any suite is enough to refuse the engine, and the suite is named") {
    struct Suite {
        std::string_view name;
        IMB_CIPHER_MODE cipher;
        std::uint64_t key_size;
        IMB_HASH_ALG hash;
    };
    constexpr std::array<Suite, 10> suites{{
        {"chacha20-poly1305", IMB_CIPHER_CHACHA20_POLY1305, 32, IMB_AUTH_CHACHA20_POLY1305},
        {"aes-128-cbc-hmac-sha1-96", IMB_CIPHER_CBC, 16, IMB_AUTH_HMAC_SHA_1},
        {"aes-256-cbc-hmac-sha1-96", IMB_CIPHER_CBC, 32, IMB_AUTH_HMAC_SHA_1},
        {"aes-128-cbc-hmac-sha-256-128", IMB_CIPHER_CBC, 16, IMB_AUTH_HMAC_SHA_256},
        {"aes-256-cbc-hmac-sha-256-128", IMB_CIPHER_CBC, 32, IMB_AUTH_HMAC_SHA_256},
        {"aes-128-cbc-hmac-sha-384-192", IMB_CIPHER_CBC, 16, IMB_AUTH_HMAC_SHA_384},
        {"aes-256-cbc-hmac-sha-384-192", IMB_CIPHER_CBC, 32, IMB_AUTH_HMAC_SHA_384},
        {"aes-128-cbc-hmac-sha-512-256", IMB_CIPHER_CBC, 16, IMB_AUTH_HMAC_SHA_512},
        {"aes-256-cbc-hmac-sha-512-256", IMB_CIPHER_CBC, 32, IMB_AUTH_HMAC_SHA_512},
        {"3des-cbc-hmac-sha1-96", IMB_CIPHER_DES3, 24, IMB_AUTH_HMAC_SHA_1},
    }};
    const auto engine = Engine::create();
    REQUIRE(engine.has_value());
    IMB_MGR& manager = *engine->manager();
    const burst_fn_t submit = manager.submit_burst_nocheck;
    const burst_fn_t flush = manager.flush_burst;
    for (const auto& [direction, operation] :
         {std::pair{IMB_DIR_ENCRYPT, "encryption"}, std::pair{IMB_DIR_DECRYPT, "decryption"}}) {
        for (const Suite& suite : suites) {
            // Where the library completes a job, on submission or on the flush, differs by suite.
            for (const bool on_submit : {true, false}) {
                damage = {on_submit ? submit : flush, suite.cipher, suite.key_size, suite.hash, direction, 0};
                (on_submit ? manager.submit_burst_nocheck : manager.flush_burst) = wrong_in_some;
                const auto verified = verify_known_answers(manager);
                manager.submit_burst_nocheck = submit;
                manager.flush_burst = flush;
                if (!verified) {
                    CHECK_THAT(verified.error(),
                               Catch::Contains(std::string(operation) + " of the 64-byte case of " +
                                               std::string(suite.name)));
                } else {
                    INFO(suite.name << " is completed elsewhere");
                    CHECK((on_submit || suite.cipher == IMB_CIPHER_CHACHA20_POLY1305));
                }
            }
        }
    }
    CHECK(verify_known_answers(manager).has_value());
}

struct PublishedPacket {
    lib::Suite suite;
    std::string_view key;
    std::uint32_t spi;
    std::uint64_t sequence;
    bool extended;
    std::uint64_t iv;
    std::string_view plain;
    std::string_view packet;
    OpenVerdict verdict;
};

/// draft-mcgrew-gcm-test-01: sections 4 and 5 (extended sequence numbers); RFC 7634 appendix A. The first two
/// are transport-mode packets (next header ICMP): tunnel mode refuses them, but only after cipher, ICV and
/// padding came out right.
constexpr std::array<PublishedPacket, 3> published_packets{{
    {lib::Suite::aes_256_gcm_16, "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344",
     0x4a2cbfe3, 2, false, 0x0102030405060708,
     "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b401010402"
     "01020201",
     "4a2cbfe3000000020102030405060708ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763"
     "748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c4915956c96",
     OpenVerdict::bad_next_header},
    {lib::Suite::aes_128_gcm_16, "4c80cdefbb5d10da906ac73c3613a6342e443b68", 0x4321, 0x8765432100000000, true,
     0x4956ed7e3b244cfe,
     "45000048699a000080114db7c0a80102c0a801010a9bf15638d30100000100000000000004"
     "5f736970045f756470037369700963796265726369747902646b000021000101020201",
     "00004321000000004956ed7e3b244cfefecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436"
     "f"
     "14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb"
     "4",
     OpenVerdict::bad_next_header},
    {lib::Suite::chacha20_poly1305,
     "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3", 0x01020304, 5, false,
     0x1011121314151617,
     "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec100007362708090a0b0c0d0e0f101112131415161"
     "718"
     "191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204",
     "0102030400000005101112131415161724039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee809"
     "9d5"
     "2844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e07"
     "6aa"
     "a8266b7fb0f7b11b369907e1ad43",
     OpenVerdict::opened},
}};

TEST_CASE("the published ESP packets open to their published plaintexts") {
    for (const auto implementation : implementations()) {
        auto opener = make_opener(implementation);
        for (const PublishedPacket& example : published_packets) {
            Bytes buffer = from_hex(example.packet);
            const Bytes key = from_hex(example.key);
            const auto sa = InboundSa::create(opener.engine(), {.spi = lib::Spi{example.spi},
                                                                .suite = example.suite,
                                                                .key = key,
                                                                .extended_sequence = example.extended,
                                                                .highest = example.sequence - 1});
            REQUIRE(sa.has_value());
            const Opened opened = opener.open(**sa, buffer);
            CHECK(opened.verdict == example.verdict);
            CHECK(opened.sequence == example.sequence);
            CHECK(opened.iv == example.iv);
            CHECK(Bytes(buffer.begin() + 16, buffer.end() - 16) == from_hex(example.plain));
        }
    }
}

}  // namespace
}  // namespace flowtap::test
