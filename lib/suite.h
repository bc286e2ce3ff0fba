// The ESP suites: one table of their names, algorithms and sizes. Everything else that knows suites (the SA
// file, the records' checks, crypto/, the tests) goes by it.
#pragma once

#include "lib/records.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace flowtap::lib {

/// Security Parameters Index (RFC 4303 section 2.1), host byte order.
enum class Spi : std::uint32_t {};

/// 0 means "no SA"; 1..255 are reserved by IANA (RFC 4303 section 2.1).
inline constexpr std::uint32_t first_spi = 256;

enum class Cipher : std::uint8_t {
    aes_gcm,            ///< RFC 4106
    chacha20_poly1305,  ///< RFC 7634
    aes_cbc,            ///< RFC 3602
    triple_des_cbc,     ///< RFC 2451
};

enum class Authentication : std::uint8_t {
    combined,      ///< the cipher authenticates
    hmac_sha1,     ///< RFC 2404
    hmac_sha_256,  ///< RFC 4868
    hmac_sha_384,
    hmac_sha_512,
};

struct SuiteInfo {
    Suite suite;
    std::string_view name;
    Cipher cipher;
    Authentication authentication;
    std::uint8_t cipher_key_size;  ///< bytes, as all sizes
    std::uint8_t salt_size;        ///< follows the cipher key (RFC 4106 section 8.1, RFC 7634 section 2)
    std::uint8_t authentication_key_size;  ///< follows the cipher key where there is no salt
    std::uint8_t iv_size;                  ///< on the wire
    std::uint8_t alignment;                ///< of the encrypted part's length
    std::uint8_t icv_size;
    bool legacy;  ///< too weak for a new installation: a warning wherever one is configured

    constexpr std::size_t key_material_size() const {
        return std::size_t{cipher_key_size} + salt_size + authentication_key_size;
    }
    constexpr bool combined() const { return authentication == Authentication::combined; }
};

namespace suite_table {

constexpr SuiteInfo aead(Suite suite, std::string_view name, Cipher cipher, std::uint8_t key) {
    return {suite, name, cipher, Authentication::combined, key, 4, 0, 8, 4, 16, false};
}

constexpr SuiteInfo cbc(Suite suite, std::string_view name, std::uint8_t key, Authentication authentication,
                        std::uint8_t authentication_key, std::uint8_t icv) {
    return {suite, name, Cipher::aes_cbc, authentication, key, 0, authentication_key, 16, 16, icv, false};
}

}  // namespace suite_table

/// In the order of Suite.
inline constexpr std::array<SuiteInfo, 12> suites{{
    suite_table::aead(Suite::aes_256_gcm_16, "aes-256-gcm-16", Cipher::aes_gcm, 32),
    suite_table::aead(Suite::aes_128_gcm_16, "aes-128-gcm-16", Cipher::aes_gcm, 16),
    suite_table::aead(Suite::chacha20_poly1305, "chacha20-poly1305", Cipher::chacha20_poly1305, 32),
    suite_table::cbc(Suite::aes_128_cbc_hmac_sha1_96, "aes-128-cbc-hmac-sha1-96", 16,
                     Authentication::hmac_sha1, 20, 12),
    suite_table::cbc(Suite::aes_256_cbc_hmac_sha1_96, "aes-256-cbc-hmac-sha1-96", 32,
                     Authentication::hmac_sha1, 20, 12),
    suite_table::cbc(Suite::aes_128_cbc_hmac_sha_256_128, "aes-128-cbc-hmac-sha-256-128", 16,
                     Authentication::hmac_sha_256, 32, 16),
    suite_table::cbc(Suite::aes_256_cbc_hmac_sha_256_128, "aes-256-cbc-hmac-sha-256-128", 32,
                     Authentication::hmac_sha_256, 32, 16),
    suite_table::cbc(Suite::aes_128_cbc_hmac_sha_384_192, "aes-128-cbc-hmac-sha-384-192", 16,
                     Authentication::hmac_sha_384, 48, 24),
    suite_table::cbc(Suite::aes_256_cbc_hmac_sha_384_192, "aes-256-cbc-hmac-sha-384-192", 32,
                     Authentication::hmac_sha_384, 48, 24),
    suite_table::cbc(Suite::aes_128_cbc_hmac_sha_512_256, "aes-128-cbc-hmac-sha-512-256", 16,
                     Authentication::hmac_sha_512, 64, 32),
    suite_table::cbc(Suite::aes_256_cbc_hmac_sha_512_256, "aes-256-cbc-hmac-sha-512-256", 32,
                     Authentication::hmac_sha_512, 64, 32),
    {Suite::triple_des_cbc_hmac_sha1_96, "3des-cbc-hmac-sha1-96", Cipher::triple_des_cbc,
     Authentication::hmac_sha1, 24, 0, 20, 8, 8, 12, true},
}};

static_assert(std::ranges::all_of(suites, [](const SuiteInfo& info) {
    return &info == &suites[static_cast<std::size_t>(info.suite)] &&
           info.key_material_size() <= SaInstall::key_capacity;
}));

/// Bytes of an ESP packet, from the SPI to the ICV, around an inner packet of `inner` bytes.
constexpr std::size_t esp_size(const SuiteInfo& suite, std::size_t inner) {
    const std::size_t with_trailer = inner + 2;
    const std::size_t text = (with_trailer + suite.alignment - 1) / suite.alignment * suite.alignment;
    return std::size_t{8} + suite.iv_size + text + suite.icv_size;
}

/// Bytes of the longest inner packet that makes an ESP packet of no more than `room` bytes; 0: none does.
constexpr std::size_t largest_inner(const SuiteInfo& suite, std::size_t room) {
    const std::size_t around = std::size_t{8} + suite.iv_size + suite.icv_size;
    const std::size_t text = room > around ? (room - around) / suite.alignment * suite.alignment : 0;
    return text > 2 ? text - 2 : 0;
}

/// Bytes that may go through the cipher under one key; 0: more than its SA has packets for. Blocks of 64 bits
/// begin to repeat at about 2^32 of them, and each repetition tells something of two packets (CVE-2016-2183).
constexpr std::uint64_t block_limit(const SuiteInfo& suite) {
    return suite.cipher == Cipher::triple_des_cbc ? std::uint64_t{8} << 32 : 0;
}

/// Null for a value that names no suite (it may have come from shared memory).
constexpr const SuiteInfo* find_suite(Suite suite) {
    const auto index = static_cast<std::size_t>(suite);
    return index < suites.size() ? &suites[index] : nullptr;
}

constexpr const SuiteInfo* find_suite(std::string_view name) {
    const auto* const found = std::ranges::find(suites, name, &SuiteInfo::name);
    return found == suites.end() ? nullptr : found;
}

}  // namespace flowtap::lib
