// The suites' ciphers and hashes against published examples, through the jobs that packets go through.
#include "crypto/cipher_jobs.h"

#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>

namespace flowtap::test {
namespace {

using crypto::CipherTask;
using crypto::Direction;
using crypto::Engine;
using crypto::KeySchedule;
using lib::Suite;
using lib::SuiteInfo;

Bytes ascii(std::string_view text) {
    return {text.begin(), text.end()};
}

/// Bytes from `first` on, each one more.
Bytes counting(std::uint8_t first, std::size_t count) {
    Bytes bytes(count);
    std::ranges::generate(bytes, [&] { return first++; });
    return bytes;
}

struct CbcExample {
    std::string_view source;
    Suite suite;
    std::string_view key;
    std::string_view iv;
    Bytes plain;
    std::string_view cipher;
};

const std::vector<CbcExample>& cbc_examples() {
    static const std::vector<CbcExample> all{
        {"RFC 3602 case 1", Suite::aes_128_cbc_hmac_sha1_96, "06a9214036b8a15b512e03d534120006",
         "3dafba429d9eb430b422da802c9fac41", ascii("Single block msg"), "e353779c1079aeb82708942dbe77181a"},
        {"RFC 3602 case 2", Suite::aes_128_cbc_hmac_sha_256_128, "c286696d887c9aa0611bbb3e2025a45a",
         "562e17996d093d28ddb3ba695a2e6f58", counting(0, 32),
         "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1"},
        {"RFC 3602 case 3", Suite::aes_128_cbc_hmac_sha_384_192, "6c3ea0477630ce21a2ce334aa746c2cd",
         "c782dc4c098c66cbd9cd27d825682c81", ascii("This is a 48-byte message (exactly 3 AES blocks)"),
         "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad525c8579695d83ba2684"},
        {"RFC 3602 case 4", Suite::aes_128_cbc_hmac_sha_512_256, "56e47a38c5598974bc46903dba290349",
         "8ce82eefbea0da3c44699ed7db51b7d9", counting(0xa0, 64),
         "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e"
         "35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55"},
        {"NIST SP 800-38A F.2.5", Suite::aes_256_cbc_hmac_sha_256_128,
         "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
         "000102030405060708090a0b0c0d0e0f",
         from_hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                  "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"),
         "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
         "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"},
        // Its example is of ECB: a CBC of one block under an IV of 0, three times.
        {"NIST SP 800-67 B.1", Suite::triple_des_cbc_hmac_sha1_96,
         "0123456789abcdef23456789abcdef01456789abcdef0123", "0000000000000000", ascii("The qufc"),
         "a826fd8ce53b855f"},
        {"NIST SP 800-67 B.1", Suite::triple_des_cbc_hmac_sha1_96,
         "0123456789abcdef23456789abcdef01456789abcdef0123", "0000000000000000", ascii("k brown "),
         "cce21c8112256fe6"},
        {"NIST SP 800-67 B.1", Suite::triple_des_cbc_hmac_sha1_96,
         "0123456789abcdef23456789abcdef01456789abcdef0123", "0000000000000000", ascii("fox jump"),
         "68d5c05dd9b6b900"},
    };
    return all;
}

TEST_CASE("CBC gives the published examples, in every lane, and takes them back") {
    for (const auto implementation : implementations()) {
        const auto engine = Engine::create(implementation).value();
        for (const CbcExample& example : cbc_examples()) {
            const SuiteInfo& suite = *lib::find_suite(example.suite);
            const Bytes material =
                concat({from_hex(example.key), counting(0x10, suite.authentication_key_size)});
            const auto schedule = KeySchedule::create(engine, example.suite, material).value();
            for (const std::size_t count : {1UL, 5UL, 64UL}) {
                INFO(to_string(implementation) << " " << example.source << ", " << count << " at once");
                std::vector<Bytes> packets(
                    count, concat({Bytes(8), from_hex(example.iv), example.plain, Bytes(suite.icv_size)}));
                std::vector<CipherTask> tasks;
                for (Bytes& packet : packets) {
                    tasks.push_back(crypto::task_of(suite, packet.data(), example.plain.size()));
                }
                const auto text = [&](const Bytes& packet) {
                    const auto start = packet.begin() + 8 + suite.iv_size;
                    return Bytes(start, start + static_cast<std::ptrdiff_t>(example.plain.size()));
                };
                REQUIRE(run(*engine.manager(), suite, schedule.tables(), Direction::seal, tasks));
                for (const Bytes& packet : packets) {
                    REQUIRE(text(packet) == from_hex(example.cipher));
                }
                REQUIRE(run(*engine.manager(), suite, schedule.tables(), Direction::open, tasks));
                for (const Bytes& packet : packets) {
                    REQUIRE(text(packet) == example.plain);
                }
            }
        }
    }
}

struct HmacExample {
    std::string_view source;
    Suite suite;
    Bytes key;  ///< a shorter one than the suite's is filled with 0, which HMAC does too (RFC 2104)
    Bytes message;
    std::string_view digest;  ///< at least as much as the ICV
};

const std::vector<HmacExample>& hmac_examples() {
    static const Bytes jefe = ascii("Jefe");
    static const Bytes question = ascii("what do ya want for nothing?");
    static const Bytes hi = ascii("Hi There");
    static const std::vector<HmacExample> all{
        {"RFC 2202 case 1", Suite::aes_128_cbc_hmac_sha1_96, Bytes(20, 0x0b), hi, "b617318655057264e28bc0b6"},
        {"RFC 2202 case 2", Suite::triple_des_cbc_hmac_sha1_96, jefe, question, "effcdf6ae5eb2fa2d27416d5"},
        {"RFC 2202 case 3", Suite::aes_256_cbc_hmac_sha1_96, Bytes(20, 0xaa), Bytes(50, 0xdd),
         "125d7342b9ac11cd91a39af4"},
        {"RFC 4231 case 1", Suite::aes_128_cbc_hmac_sha_256_128, Bytes(20, 0x0b), hi,
         "b0344c61d8db38535ca8afceaf0bf12b"},
        {"RFC 4231 case 1", Suite::aes_256_cbc_hmac_sha_384_192, Bytes(20, 0x0b), hi,
         "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec6"},
        {"RFC 4231 case 1", Suite::aes_128_cbc_hmac_sha_512_256, Bytes(20, 0x0b), hi,
         "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"},
        {"RFC 4231 case 2", Suite::aes_256_cbc_hmac_sha_256_128, jefe, question,
         "5bdcc146bf60754e6a042426089575c7"},
        {"RFC 4231 case 2", Suite::aes_128_cbc_hmac_sha_384_192, jefe, question,
         "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47"},
        {"RFC 4231 case 2", Suite::aes_256_cbc_hmac_sha_512_256, jefe, question,
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"},
        {"RFC 4231 case 3", Suite::aes_128_cbc_hmac_sha_256_128, Bytes(20, 0xaa), Bytes(50, 0xdd),
         "773ea91e36800e46854db8ebd09181a7"},
        {"RFC 4868 AUTH256-1", Suite::aes_128_cbc_hmac_sha_256_128, Bytes(32, 0x0b), hi,
         "198a607eb44bfbc69903a0f1cf2bbdc5"},
        {"RFC 4868 AUTH384-1", Suite::aes_128_cbc_hmac_sha_384_192, Bytes(48, 0x0b), hi,
         "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"},
        {"RFC 4868 AUTH512-1", Suite::aes_128_cbc_hmac_sha_512_256, Bytes(64, 0x0b), hi,
         "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"},
    };
    return all;
}

TEST_CASE("HMAC gives the published examples, cut to the suite's ICV, in every lane") {
    for (const auto implementation : implementations()) {
        const auto engine = Engine::create(implementation).value();
        for (const HmacExample& example : hmac_examples()) {
            const SuiteInfo& suite = *lib::find_suite(example.suite);
            Bytes material = concat({counting(1, suite.cipher_key_size), example.key});
            material.resize(suite.key_material_size());
            const auto schedule = KeySchedule::create(engine, example.suite, material).value();
            for (const std::size_t count : {1UL, 7UL, 64UL}) {
                INFO(to_string(implementation)
                     << " " << example.source << ", " << suite.name << ", " << count);
                // Opening hashes first, so the message may stand where header, IV and text do.
                std::vector<Bytes> packets(count, example.message);
                std::vector<Bytes> icvs(count, Bytes(suite.icv_size));
                std::vector<CipherTask> tasks;
                for (std::size_t i = 0; i < count; ++i) {
                    packets[i].resize(128);
                    CipherTask task = crypto::task_of(suite, packets[i].data(), 16);
                    task.icv = icvs[i].data();
                    task.hashed = static_cast<std::uint32_t>(example.message.size());
                    tasks.push_back(task);
                }
                REQUIRE(run(*engine.manager(), suite, schedule.tables(), Direction::open, tasks));
                for (const Bytes& icv : icvs) {
                    REQUIRE(icv == from_hex(example.digest.substr(0, std::size_t{2} * suite.icv_size)));
                }
            }
        }
    }
}

}  // namespace
}  // namespace flowtap::test
