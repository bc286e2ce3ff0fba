#include "crypto/key_tables.h"

#include "lib/des_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <string_view>

namespace flowtap::crypto {
namespace {

using Key = std::span<const std::uint8_t>;

void expand_hmac(IMB_MGR& manager, lib::Authentication authentication, Key key, KeyTables& tables) {
    constexpr std::uint8_t inner_pad = 0x36;
    constexpr std::uint8_t outer_pad = 0x5c;
    // Keys are as long as the hash (RFC 4868 section 2.1.1), and so shorter than its block: none is hashed
    // first. Short blocks use the front of the array.
    std::array<std::uint8_t, IMB_SHA_512_BLOCK_SIZE> block;
    const auto digest_of = [&](std::uint8_t pad, std::uint8_t* state) {
        block.fill(pad);
        std::ranges::transform(key, block.begin(), [pad](unsigned byte) { return byte ^ pad; });
        switch (authentication) {
            case lib::Authentication::combined:
                break;
            case lib::Authentication::hmac_sha1:
                IMB_SHA1_ONE_BLOCK(&manager, block.data(), state);
                break;
            case lib::Authentication::hmac_sha_256:
                IMB_SHA256_ONE_BLOCK(&manager, block.data(), state);
                break;
            case lib::Authentication::hmac_sha_384:
                IMB_SHA384_ONE_BLOCK(&manager, block.data(), state);
                break;
            case lib::Authentication::hmac_sha_512:
                IMB_SHA512_ONE_BLOCK(&manager, block.data(), state);
                break;
        }
    };
    digest_of(inner_pad, tables.hmac_inner.data());
    digest_of(outer_pad, tables.hmac_outer.data());
    OPENSSL_cleanse(block.data(), block.size());
}

void expand_des(IMB_MGR& manager, Key key, TripleDes& target) {
    for (std::size_t i = 0; i < target.schedules.size(); ++i) {
        IMB_DES_KEYSCHED(&manager, target.schedules[i].data(), key.data() + 8 * i);
        target.pointers[i] = target.schedules[i].data();
    }
}

void expand_aes(IMB_MGR& manager, Key key, std::uint8_t* encrypt, std::uint8_t* decrypt) {
    if (key.size() == IMB_KEY_128_BYTES) {
        IMB_AES_KEYEXP_128(&manager, key.data(), encrypt, decrypt);
    } else {
        IMB_AES_KEYEXP_256(&manager, key.data(), encrypt, decrypt);
    }
}

void expand_gather(IMB_MGR& manager, Key key, KeyTables& tables) {
    expand_aes(manager, key, tables.aes_encrypt.data(), tables.aes_decrypt.data());
    const std::uint32_t rounds = key.size() == IMB_KEY_128_BYTES ? 10 : 14;
    expand_gather_keys(tables.aes_encrypt.data(), rounds, tables.gather);
}

/// The IV key is a one-way function of the cipher key alone, as the counter record in control is.
bool expand_iv_key(IMB_MGR& manager, lib::Cipher cipher, Key key, KeyTables& tables) {
    constexpr std::string_view label = "flowtap ESP IV key";
    std::array<std::uint8_t, 32> derived{};
    unsigned int size = derived.size();
    const bool done = ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
                             reinterpret_cast<const unsigned char*>(label.data()), label.size(),
                             derived.data(), &size) != nullptr;
    if (cipher == lib::Cipher::triple_des_cbc) {
        expand_des(manager, Key(derived).first(lib::triple_des_key_size), tables.des_iv);
    } else {
        std::array<std::uint8_t, aes_schedule_size> unused;
        expand_aes(manager, Key(derived).first(IMB_KEY_128_BYTES), tables.aes_iv.data(), unused.data());
        OPENSSL_cleanse(unused.data(), unused.size());
    }
    OPENSSL_cleanse(derived.data(), derived.size());
    return done;
}

}  // namespace

bool can_gather(const IMB_MGR& manager) {
    // The library's AVX-512 code needs the same parts of AVX-512, and BMI2.
    constexpr std::uint64_t needed = IMB_FEATURE_AVX512_SKX | IMB_FEATURE_BMI2 | IMB_FEATURE_VAES |
                                     IMB_FEATURE_VPCLMULQDQ | IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
    return manager.used_arch == IMB_ARCH_AVX512 && (manager.features & needed) == needed;
}

bool expand(IMB_MGR& manager, const lib::SuiteInfo& suite, Key key, KeyTables& tables) {
    const Key cipher_key = key.first(suite.cipher_key_size);
    const Key rest = key.subspan(suite.cipher_key_size);
    std::copy_n(rest.begin(), std::min<std::size_t>(suite.salt_size, tables.salt.size()),
                tables.salt.begin());
    switch (suite.cipher) {
        case lib::Cipher::aes_gcm:
            if (suite.cipher_key_size == IMB_KEY_128_BYTES) {
                IMB_AES128_GCM_PRE(&manager, cipher_key.data(), &tables.gcm);
            } else {
                IMB_AES256_GCM_PRE(&manager, cipher_key.data(), &tables.gcm);
            }
            if (can_gather(manager)) {
                expand_gather(manager, cipher_key, tables);
            }
            return true;
        case lib::Cipher::chacha20_poly1305:
            std::copy_n(cipher_key.begin(), tables.chacha.size(), tables.chacha.begin());
            return true;
        case lib::Cipher::aes_cbc:
            expand_aes(manager, cipher_key, tables.aes_encrypt.data(), tables.aes_decrypt.data());
            break;
        case lib::Cipher::triple_des_cbc:
            expand_des(manager, cipher_key, tables.des);
            break;
    }
    expand_hmac(manager, suite.authentication, rest, tables);
    return expand_iv_key(manager, suite.cipher, cipher_key, tables);
}

}  // namespace flowtap::crypto
