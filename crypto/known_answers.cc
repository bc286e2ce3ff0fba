#include "crypto/known_answers.h"

#include "crypto/cipher_jobs.h"
#include "crypto/esp.h"
#include "crypto/gather_gcm.h"
#include "crypto/ipsec_mb.h"
#include "crypto/key_tables.h"
#include "lib/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace flowtap::crypto {
namespace {

constexpr std::size_t block_size = 16;
using Tag = std::array<std::uint8_t, block_size>;

/// Key 00 01 02 ..., nonce a0 a1 a2 ..., 8 bytes of AAD 50 51 52 ... as long as ESP's, plaintext byte i =
/// (7 i + i / 256) mod 256. Tags computed with OpenSSL; since a GCM tag covers the ciphertext, each stands
/// for that too.
struct Case {
    std::size_t length;
    Tag tag;
};

constexpr std::array<Case, 4> cases_256{{
    {64, {0x82, 0x46, 0x2d, 0x3d, 0x56, 0x0b, 0x50, 0x23, 0xe2, 0x18, 0x7f, 0x7c, 0x92, 0xca, 0x06, 0x3b}},
    {332, {0x3a, 0x0e, 0x30, 0x3f, 0xd0, 0xcc, 0x81, 0xc8, 0x06, 0x38, 0x98, 0x5c, 0x6e, 0xf6, 0x8e, 0x93}},
    {1500, {0xf7, 0x70, 0x0c, 0xcc, 0x38, 0x47, 0xd1, 0x60, 0xe3, 0x67, 0x2e, 0xb5, 0xf9, 0xb2, 0x35, 0xac}},
    {9000, {0x1c, 0xcd, 0x71, 0x60, 0x16, 0xe0, 0x85, 0x48, 0x6f, 0x6e, 0xe6, 0x1f, 0x28, 0x97, 0x03, 0xa9}},
}};

constexpr std::array<Case, 4> cases_128{{
    {64, {0xce, 0x5c, 0x02, 0x6b, 0x25, 0xb5, 0xbd, 0xaf, 0xad, 0x26, 0x6e, 0x8f, 0xf6, 0x9f, 0x8d, 0x8b}},
    {332, {0x23, 0xcb, 0x4e, 0x14, 0x2a, 0x8f, 0x2a, 0x12, 0xff, 0xfd, 0xea, 0x59, 0xd2, 0x7c, 0x0f, 0x7d}},
    {1500, {0xd8, 0x5b, 0x1c, 0x65, 0x3e, 0x83, 0xd7, 0xdc, 0x35, 0x87, 0xd9, 0xea, 0xc7, 0xad, 0x96, 0xf4}},
    {9000, {0x2e, 0x72, 0xbf, 0x97, 0xb5, 0x6e, 0x11, 0xb3, 0xd0, 0xe1, 0xa4, 0x43, 0x28, 0xde, 0x35, 0x65}},
}};

/// draft-mcgrew-gcm-test-01 section 4, the ESP packet under a 256-bit key with a 32-bit sequence number.
constexpr std::array<std::uint8_t, 32> esp_key{
    0xab, 0xbc, 0xcd, 0xde, 0xf0, 0x01, 0x12, 0x23, 0x34, 0x45, 0x56, 0x67, 0x78, 0x89, 0x9a, 0xab,
    0xab, 0xbc, 0xcd, 0xde, 0xf0, 0x01, 0x12, 0x23, 0x34, 0x45, 0x56, 0x67, 0x78, 0x89, 0x9a, 0xab};
constexpr std::array<std::uint8_t, 12> esp_nonce{0x11, 0x22, 0x33, 0x44, 0x01, 0x02,
                                                 0x03, 0x04, 0x05, 0x06, 0x07, 0x08};
constexpr std::array<std::uint8_t, 8> esp_aad{0x4a, 0x2c, 0xbf, 0xe3, 0x00, 0x00, 0x00, 0x02};
constexpr std::array<std::uint8_t, 52> esp_plain{
    0x45, 0x00, 0x00, 0x30, 0x69, 0xa6, 0x40, 0x00, 0x80, 0x06, 0x26, 0x90, 0xc0,
    0xa8, 0x01, 0x02, 0x93, 0x89, 0x15, 0x5e, 0x0a, 0x9e, 0x00, 0x8b, 0x2d, 0xc5,
    0x7e, 0xe0, 0x00, 0x00, 0x00, 0x00, 0x70, 0x02, 0x40, 0x00, 0x20, 0xbf, 0x00,
    0x00, 0x02, 0x04, 0x05, 0xb4, 0x01, 0x01, 0x04, 0x02, 0x01, 0x02, 0x02, 0x01};
constexpr std::array<std::uint8_t, 52> esp_cipher{
    0xff, 0x42, 0x5c, 0x9b, 0x72, 0x45, 0x99, 0xdf, 0x7a, 0x3b, 0xcd, 0x51, 0x01,
    0x94, 0xe0, 0x0d, 0x6a, 0x78, 0x10, 0x7f, 0x1b, 0x0b, 0x1c, 0xbf, 0x06, 0xef,
    0xae, 0x9d, 0x65, 0xa5, 0xd7, 0x63, 0x74, 0x8a, 0x63, 0x79, 0x85, 0x77, 0x1d,
    0x34, 0x7f, 0x05, 0x45, 0x65, 0x9f, 0x14, 0xe9, 0x9d, 0xef, 0x84, 0x2d, 0x8e};
constexpr Tag esp_tag{0xb3, 0x35, 0xf4, 0xee, 0xcf, 0xdb, 0xf8, 0x31,
                      0x82, 0x4b, 0x4c, 0x49, 0x15, 0x95, 0x6c, 0x96};

/// The suites that are computed by jobs: key material 00 01 02 ..., ESP header 50 51 ..., IV a0 a1 ...,
/// plaintext as above; the first 12 bytes of the ICV, computed with OpenSSL. It covers the ciphertext.
using ShortTag = std::array<std::uint8_t, 12>;
constexpr std::array<std::size_t, 2> job_lengths{64, 1504};

struct JobCase {
    lib::Suite suite;
    std::array<ShortTag, job_lengths.size()> tags;
};

constexpr std::array<JobCase, 10> job_cases{{
    {lib::Suite::chacha20_poly1305,
     {{{0x0c, 0x0f, 0x3e, 0x1f, 0xb1, 0xc7, 0x9e, 0x30, 0xa6, 0x8d, 0x3d, 0x8e},
       {0x11, 0xeb, 0x6a, 0x88, 0x0b, 0x19, 0x31, 0x77, 0x22, 0x29, 0x7e, 0x6c}}}},
    {lib::Suite::aes_128_cbc_hmac_sha1_96,
     {{{0x25, 0x04, 0xd4, 0x4e, 0x8d, 0xe8, 0x4c, 0xce, 0xe5, 0xdd, 0x8b, 0x9d},
       {0x98, 0x7f, 0x3c, 0x16, 0xcd, 0xa8, 0xed, 0x5a, 0xba, 0x32, 0x6d, 0x57}}}},
    {lib::Suite::aes_256_cbc_hmac_sha1_96,
     {{{0x8b, 0x7d, 0x9d, 0x93, 0x90, 0x9e, 0x0d, 0xee, 0xb2, 0xc5, 0x9e, 0x69},
       {0x43, 0x4c, 0xe8, 0x14, 0x56, 0xd7, 0x95, 0x5a, 0xba, 0x7b, 0x8f, 0x1d}}}},
    {lib::Suite::aes_128_cbc_hmac_sha_256_128,
     {{{0xff, 0xbb, 0x2c, 0xab, 0xd6, 0xe0, 0xb9, 0xc0, 0x3d, 0x2b, 0x7e, 0xee},
       {0xa6, 0x52, 0xc5, 0xcb, 0x39, 0xa0, 0xb1, 0xec, 0xc4, 0x3c, 0x9b, 0xda}}}},
    {lib::Suite::aes_256_cbc_hmac_sha_256_128,
     {{{0x65, 0x38, 0x96, 0xe2, 0x88, 0xdf, 0xac, 0x23, 0xe4, 0xcb, 0x29, 0x0c},
       {0x41, 0xfb, 0x6b, 0x0f, 0x8e, 0xf3, 0x7d, 0xc6, 0xd8, 0x64, 0xb8, 0xa3}}}},
    {lib::Suite::aes_128_cbc_hmac_sha_384_192,
     {{{0x26, 0x3f, 0x50, 0xf6, 0x7a, 0xf2, 0x63, 0x62, 0x54, 0x07, 0xab, 0x12},
       {0xdf, 0x2c, 0x9c, 0xb9, 0x7a, 0x7f, 0x73, 0x55, 0x66, 0x57, 0x2a, 0x88}}}},
    {lib::Suite::aes_256_cbc_hmac_sha_384_192,
     {{{0xed, 0xbe, 0x63, 0xd3, 0x40, 0x95, 0x87, 0x9c, 0x2e, 0xd7, 0xb4, 0x19},
       {0x17, 0x4f, 0x83, 0xa5, 0x00, 0xef, 0x7a, 0x5f, 0xf1, 0xd9, 0xeb, 0x2a}}}},
    {lib::Suite::aes_128_cbc_hmac_sha_512_256,
     {{{0x04, 0x59, 0x99, 0x6e, 0x0c, 0x66, 0x45, 0xa6, 0x60, 0x1c, 0xff, 0x5c},
       {0x4c, 0x2d, 0x5b, 0xe6, 0x74, 0x58, 0x24, 0xa9, 0x19, 0xcc, 0x52, 0x36}}}},
    {lib::Suite::aes_256_cbc_hmac_sha_512_256,
     {{{0xa5, 0x94, 0x74, 0xb7, 0x90, 0x9f, 0xb4, 0x47, 0x08, 0x57, 0x30, 0xff},
       {0x00, 0x63, 0x0e, 0x91, 0x1e, 0xe5, 0xf6, 0x74, 0xe1, 0xda, 0xb3, 0x04}}}},
    {lib::Suite::triple_des_cbc_hmac_sha1_96,
     {{{0xa0, 0x63, 0xe9, 0x01, 0x66, 0x78, 0x95, 0x48, 0x18, 0x80, 0x49, 0xdc},
       {0x14, 0x73, 0xcc, 0x12, 0x7f, 0xa0, 0x66, 0x33, 0x88, 0xab, 0x5c, 0x1c}}}},
}};

/// Count, start + 1, start + 2, ...
template <std::size_t size>
constexpr std::array<std::uint8_t, size> counting_from(std::uint8_t start) {
    std::array<std::uint8_t, size> bytes{};
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::uint8_t>(start + i);
    }
    return bytes;
}

using Answer = std::expected<void, std::string>;

Answer wrong(lib::Suite suite, std::string_view operation, std::size_t length) {
    return std::unexpected(
        fmt::format("the cipher computes wrong: {} of the {}-byte case of {} differs from its known answer",
                    operation, length, lib::find_suite(suite)->name));
}

std::vector<std::uint8_t> plain_of(std::size_t length) {
    std::vector<std::uint8_t> plain(length);
    for (std::size_t i = 0; i < plain.size(); ++i) {
        plain[i] = static_cast<std::uint8_t>(7 * i + i / 256);
    }
    return plain;
}

Answer verify_published_gcm(IMB_MGR& manager) {
    gcm_key_data schedule{};
    gcm_context_data context{};
    Tag tag{};
    IMB_AES256_GCM_PRE(&manager, esp_key.data(), &schedule);
    std::array<std::uint8_t, esp_plain.size()> text{};
    IMB_AES256_GCM_ENC(&manager, &schedule, &context, text.data(), esp_plain.data(), text.size(),
                       esp_nonce.data(), esp_aad.data(), esp_aad.size(), tag.data(), tag.size());
    if (text != esp_cipher || tag != esp_tag) {
        return wrong(lib::Suite::aes_256_gcm_16, "encryption", text.size());
    }
    IMB_AES256_GCM_DEC(&manager, &schedule, &context, text.data(), text.data(), text.size(), esp_nonce.data(),
                       esp_aad.data(), esp_aad.size(), tag.data(), tag.size());
    if (text != esp_plain || tag != esp_tag) {
        return wrong(lib::Suite::aes_256_gcm_16, "decryption", text.size());
    }
    return {};
}

struct GcmCalls {
    lib::Suite suite;
    aes_gcm_pre_t expand;
    aes_gcm_enc_dec_t encrypt;
    aes_gcm_enc_dec_t decrypt;
};

Answer verify_gcm(const GcmCalls& calls, std::span<const Case> cases) {
    constexpr auto key = counting_from<32>(0);
    constexpr auto nonce = counting_from<12>(0xa0);
    constexpr auto aad = counting_from<8>(0x50);
    gcm_key_data schedule{};
    gcm_context_data context{};
    Tag tag{};
    calls.expand(key.data(), &schedule);
    for (const Case& known : cases) {
        const std::vector<std::uint8_t> plain = plain_of(known.length);
        std::vector<std::uint8_t> buffer = plain;
        calls.encrypt(&schedule, &context, buffer.data(), buffer.data(), buffer.size(), nonce.data(),
                      aad.data(), aad.size(), tag.data(), tag.size());
        if (tag != known.tag) {
            return wrong(calls.suite, "encryption", known.length);
        }
        calls.decrypt(&schedule, &context, buffer.data(), buffer.data(), buffer.size(), nonce.data(),
                      aad.data(), aad.size(), tag.data(), tag.size());
        if (buffer != plain || tag != known.tag) {
            return wrong(calls.suite, "decryption", known.length);
        }
    }
    return {};
}

/// Our own code for AES-GCM, with the text in three pieces.
Answer verify_gather(IMB_MGR& manager, lib::Suite suite, std::span<const Case> cases) {
    constexpr auto key = counting_from<32>(0);
    constexpr auto nonce = counting_from<12>(0xa0);
    constexpr auto aad = counting_from<8>(0x50);
    constexpr std::size_t head = 28;
    constexpr std::size_t trailer = 3;
    KeyTables keys{};
    const lib::SuiteInfo& info = *lib::find_suite(suite);
    if (!expand(manager, info, std::span(key).first(info.cipher_key_size), keys)) {
        return wrong(suite, "key expansion", 0);
    }
    GatherTerms terms{.salt = 0, .aad_size = aad.size()};
    std::memcpy(&terms.salt, nonce.data(), sizeof terms.salt);
    for (const Case& known : cases) {
        const std::vector<std::uint8_t> plain = plain_of(known.length);
        std::vector<std::uint8_t> buffer(block_size + known.length + sizeof(Tag));
        std::uint8_t* const place = buffer.data() + block_size;
        std::copy_n(plain.begin(), head, place);
        GatherText text{.text = place,
                        .body = plain.data() + head,
                        .trailer = plain.data() + known.length - trailer,
                        .head = head,
                        .length = static_cast<std::uint32_t>(known.length - trailer),
                        .size = static_cast<std::uint32_t>(known.length)};
        std::memcpy(&text.iv, nonce.data() + sizeof terms.salt, sizeof text.iv);
        std::memcpy(&text.aad_low, aad.data(), aad.size());
        gather_gcm(keys.gather, terms, &text, 1);
        if (!std::equal(known.tag.begin(), known.tag.end(), place + known.length)) {
            return wrong(suite, "gathering encryption", known.length);
        }
    }
    return {};
}

/// The same packet in more jobs than the library has lanes: every lane has to come to the known ICV, and
/// back. One is opened alone, as packets that come in are.
Answer verify_jobs(IMB_MGR& manager, const lib::SuiteInfo& suite, std::size_t length,
                   const ShortTag& expected) {
    constexpr std::size_t lanes = 17;
    constexpr auto key = counting_from<lib::SaInstall::key_capacity>(0);
    constexpr auto header = counting_from<esp_header_size>(0x50);
    constexpr auto iv = counting_from<16>(0xa0);
    constexpr auto sequence = 0x54555657;  // as the header has it
    KeyTables keys{};
    if (!expand(manager, suite, std::span(key).first(suite.key_material_size()), keys)) {
        return wrong(suite.suite, "key expansion", length);
    }
    const std::vector<std::uint8_t> plain = plain_of(length);
    const std::size_t in_front = header.size() + suite.iv_size;
    std::array<std::vector<std::uint8_t>, lanes> packets;
    std::array<CipherTask, lanes> tasks;
    for (std::size_t i = 0; i < lanes; ++i) {
        packets[i].resize(in_front + length + suite.icv_size);
        auto place = std::ranges::copy(header, packets[i].begin()).out;
        place = std::copy_n(iv.begin(), suite.iv_size, place);
        std::ranges::copy(plain, place);
        tasks[i] = task_of(suite, packets[i].data(), length);
        bind_sequence(suite, keys, false, sequence, tasks[i]);
    }
    const auto right_tag = [&](const CipherTask& task) {
        return std::equal(expected.begin(), expected.end(), task.icv);
    };
    if (!run(manager, suite, keys, Direction::seal, tasks) || !std::ranges::all_of(tasks, right_tag)) {
        return wrong(suite.suite, "encryption", length);
    }
    for (CipherTask& task : tasks) {
        std::fill_n(task.icv, suite.icv_size, std::uint8_t{0});
    }
    const auto right_text = [&](const CipherTask& task) {
        return std::equal(plain.begin(), plain.end(), task.esp + in_front);
    };
    const std::span<CipherTask> all = tasks;
    if (!run(manager, suite, keys, Direction::open, all.first(1)) ||
        !run(manager, suite, keys, Direction::open, all.subspan(1)) ||
        !std::ranges::all_of(tasks, right_tag) || !std::ranges::all_of(tasks, right_text)) {
        return wrong(suite.suite, "decryption", length);
    }
    return {};
}

}  // namespace

std::expected<void, std::string> verify_known_answers(IMB_MGR& manager) {
    Answer answer = verify_published_gcm(manager);
    if (answer) {
        answer = verify_gcm(
            {lib::Suite::aes_256_gcm_16, manager.gcm256_pre, manager.gcm256_enc, manager.gcm256_dec},
            cases_256);
    }
    if (answer) {
        answer = verify_gcm(
            {lib::Suite::aes_128_gcm_16, manager.gcm128_pre, manager.gcm128_enc, manager.gcm128_dec},
            cases_128);
    }
    if (answer && can_gather(manager)) {
        answer = verify_gather(manager, lib::Suite::aes_256_gcm_16, cases_256);
        if (answer) {
            answer = verify_gather(manager, lib::Suite::aes_128_gcm_16, cases_128);
        }
    }
    for (const JobCase& known : job_cases) {
        for (std::size_t i = 0; i < job_lengths.size() && answer; ++i) {
            answer = verify_jobs(manager, *lib::find_suite(known.suite), job_lengths[i], known.tags[i]);
        }
    }
    return answer;
}

}  // namespace flowtap::crypto
