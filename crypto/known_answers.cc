#include "crypto/known_answers.h"

#include "crypto/ipsec_mb.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace flowtap::crypto {
namespace {

using Tag = std::array<std::uint8_t, 16>;

/// Key 00 01 02 ..., nonce a0 a1 a2 ..., 8 bytes of AAD 50 51 52 ... as long as ESP's, plaintext byte i =
/// (7 i + i / 256) mod 256. Tags computed with OpenSSL; since a GCM tag covers the ciphertext, each stands
/// for that too.
struct Case {
    std::size_t length;
    Tag tag;
};

constexpr std::array<Case, 4> cases{{
    {64, {0x82, 0x46, 0x2d, 0x3d, 0x56, 0x0b, 0x50, 0x23, 0xe2, 0x18, 0x7f, 0x7c, 0x92, 0xca, 0x06, 0x3b}},
    {332, {0x3a, 0x0e, 0x30, 0x3f, 0xd0, 0xcc, 0x81, 0xc8, 0x06, 0x38, 0x98, 0x5c, 0x6e, 0xf6, 0x8e, 0x93}},
    {1500, {0xf7, 0x70, 0x0c, 0xcc, 0x38, 0x47, 0xd1, 0x60, 0xe3, 0x67, 0x2e, 0xb5, 0xf9, 0xb2, 0x35, 0xac}},
    {9000, {0x1c, 0xcd, 0x71, 0x60, 0x16, 0xe0, 0x85, 0x48, 0x6f, 0x6e, 0xe6, 0x1f, 0x28, 0x97, 0x03, 0xa9}},
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

/// Count, start + 1, start + 2, ...
template <std::size_t size>
constexpr std::array<std::uint8_t, size> counting_from(std::uint8_t start) {
    std::array<std::uint8_t, size> bytes{};
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::uint8_t>(start + i);
    }
    return bytes;
}

}  // namespace

std::expected<void, std::string> verify_known_answers(IMB_MGR& manager) {
    const auto wrong = [](const char* operation, std::size_t length) {
        return std::unexpected(fmt::format(
            "IPsec-MB computes wrong: {} of the {}-byte AES-256-GCM case differs from its known answer",
            operation, length));
    };
    gcm_key_data schedule{};
    gcm_context_data context{};
    Tag tag{};

    IMB_AES256_GCM_PRE(&manager, esp_key.data(), &schedule);
    std::array<std::uint8_t, esp_plain.size()> text{};
    IMB_AES256_GCM_ENC(&manager, &schedule, &context, text.data(), esp_plain.data(), text.size(),
                       esp_nonce.data(), esp_aad.data(), esp_aad.size(), tag.data(), tag.size());
    if (text != esp_cipher || tag != esp_tag) {
        return wrong("encryption", text.size());
    }
    IMB_AES256_GCM_DEC(&manager, &schedule, &context, text.data(), text.data(), text.size(), esp_nonce.data(),
                       esp_aad.data(), esp_aad.size(), tag.data(), tag.size());
    if (text != esp_plain || tag != esp_tag) {
        return wrong("decryption", text.size());
    }

    constexpr auto key = counting_from<32>(0);
    constexpr auto nonce = counting_from<12>(0xa0);
    constexpr auto aad = counting_from<8>(0x50);
    IMB_AES256_GCM_PRE(&manager, key.data(), &schedule);
    for (const Case& known : cases) {
        std::vector<std::uint8_t> plain(known.length);
        for (std::size_t i = 0; i < plain.size(); ++i) {
            plain[i] = static_cast<std::uint8_t>(7 * i + i / 256);
        }
        std::vector<std::uint8_t> buffer = plain;
        IMB_AES256_GCM_ENC(&manager, &schedule, &context, buffer.data(), buffer.data(), buffer.size(),
                           nonce.data(), aad.data(), aad.size(), tag.data(), tag.size());
        if (tag != known.tag) {
            return wrong("encryption", known.length);
        }
        IMB_AES256_GCM_DEC(&manager, &schedule, &context, buffer.data(), buffer.data(), buffer.size(),
                           nonce.data(), aad.data(), aad.size(), tag.data(), tag.size());
        if (buffer != plain || tag != known.tag) {
            return wrong("decryption", known.length);
        }
    }
    return {};
}

}  // namespace flowtap::crypto
