#include "test/support/esp_oracle.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace flowtap::test {
namespace {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

void require(bool holds) {
    if (!holds) {
        std::fprintf(stderr, "esp-oracle: OpenSSL failed\n");
        std::abort();
    }
}

using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

const EVP_CIPHER* cipher_of(const lib::SuiteInfo& suite) {
    const bool wide = suite.cipher_key_size == 32;
    switch (suite.cipher) {
        case lib::Cipher::aes_gcm:
            return wide ? EVP_aes_256_gcm() : EVP_aes_128_gcm();
        case lib::Cipher::chacha20_poly1305:
            return EVP_chacha20_poly1305();
        case lib::Cipher::aes_cbc:
            return wide ? EVP_aes_256_cbc() : EVP_aes_128_cbc();
        case lib::Cipher::triple_des_cbc:
            return EVP_des_ede3_cbc();
    }
    return nullptr;
}

const EVP_MD* hash_of(const lib::SuiteInfo& suite) {
    switch (suite.authentication) {
        case lib::Authentication::combined:
            return nullptr;
        case lib::Authentication::hmac_sha1:
            return EVP_sha1();
        case lib::Authentication::hmac_sha_256:
            return EVP_sha256();
        case lib::Authentication::hmac_sha_384:
            return EVP_sha384();
        case lib::Authentication::hmac_sha_512:
            return EVP_sha512();
    }
    return nullptr;
}

void append(Bytes& bytes, std::uint64_t value, int width) {
    while (width-- > 0) {
        bytes.push_back(static_cast<std::uint8_t>(value >> 8 * width));
    }
}

Bytes aad_of(View esp, bool extended, std::uint64_t sequence) {
    if (!extended) {
        return {esp.begin(), esp.begin() + 8};
    }
    Bytes aad(esp.begin(), esp.begin() + 4);
    append(aad, sequence >> 32, 4);
    aad.insert(aad.end(), esp.begin() + 4, esp.begin() + 8);
    return aad;
}

/// Encrypts or decrypts; with AEAD, `tag` is written or checked. False: it does not fit.
bool crypt(const lib::SuiteInfo& suite, bool encrypt, View key, View iv, View aad,
           std::span<std::uint8_t> text, std::span<std::uint8_t> tag) {
    const Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    int length = 0;
    require(EVP_CipherInit_ex(context.get(), cipher_of(suite), nullptr, key.data(), iv.data(),
                              encrypt ? 1 : 0) == 1);
    require(EVP_CIPHER_CTX_set_padding(context.get(), 0) == 1);
    if (suite.combined()) {
        require(EVP_CipherUpdate(context.get(), nullptr, &length, aad.data(), static_cast<int>(aad.size())) ==
                1);
        if (!encrypt) {
            require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, 16, tag.data()) == 1);
        }
    }
    require(EVP_CipherUpdate(context.get(), text.data(), &length, text.data(),
                             static_cast<int>(text.size())) == 1);
    std::array<std::uint8_t, 32> rest{};
    const bool fits = EVP_CipherFinal_ex(context.get(), rest.data(), &length) == 1;
    if (suite.combined() && encrypt) {
        require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, 16, tag.data()) == 1);
    }
    return fits;
}

Bytes hmac(const lib::SuiteInfo& suite, View key, View esp, bool extended, std::uint64_t sequence) {
    Bytes hashed(esp.begin(), esp.end());
    if (extended) {
        append(hashed, sequence >> 32, 4);
    }
    Bytes icv(EVP_MAX_MD_SIZE);
    unsigned size = 0;
    require(HMAC(hash_of(suite), key.data(), static_cast<int>(key.size()), hashed.data(), hashed.size(),
                 icv.data(), &size) != nullptr);
    icv.resize(suite.icv_size);
    return icv;
}

}  // namespace

Bytes EspOracle::seal(std::uint32_t spi, std::uint64_t sequence, View iv, View plain) const {
    const lib::SuiteInfo& info = *lib::find_suite(suite);
    const View cipher_key = View(key).first(info.cipher_key_size);
    const View rest = View(key).subspan(info.cipher_key_size);
    Bytes esp;
    append(esp, spi, 4);
    append(esp, sequence & UINT32_MAX, 4);
    esp.insert(esp.end(), iv.begin(), iv.end());
    const auto text = static_cast<std::ptrdiff_t>(esp.size());
    esp.insert(esp.end(), plain.begin(), plain.end());
    Bytes tag(16);
    if (info.combined()) {
        Bytes nonce(rest.begin(), rest.end());
        nonce.insert(nonce.end(), iv.begin(), iv.end());
        require(crypt(info, true, cipher_key, nonce, aad_of(esp, extended_sequence, sequence),
                      std::span(esp.begin() + text, esp.end()), tag));
    } else {
        require(crypt(info, true, cipher_key, iv, {}, std::span(esp.begin() + text, esp.end()), {}));
        tag = hmac(info, rest, esp, extended_sequence, sequence);
    }
    esp.insert(esp.end(), tag.begin(), tag.end());
    return esp;
}

std::optional<Bytes> EspOracle::open(View esp, std::uint64_t sequence) const {
    const lib::SuiteInfo& info = *lib::find_suite(suite);
    const View cipher_key = View(key).first(info.cipher_key_size);
    const View rest = View(key).subspan(info.cipher_key_size);
    const View iv = esp.subspan(8, info.iv_size);
    const View covered = esp.first(esp.size() - info.icv_size);
    Bytes icv(esp.end() - info.icv_size, esp.end());
    Bytes text(covered.begin() + 8 + info.iv_size, covered.end());
    if (info.combined()) {
        Bytes nonce(rest.begin(), rest.end());
        nonce.insert(nonce.end(), iv.begin(), iv.end());
        const bool fits =
            crypt(info, false, cipher_key, nonce, aad_of(esp, extended_sequence, sequence), text, icv);
        return fits ? std::optional(text) : std::nullopt;
    }
    if (hmac(info, rest, covered, extended_sequence, sequence) != icv) {
        return std::nullopt;
    }
    require(crypt(info, false, cipher_key, iv, {}, text, {}));
    return text;
}

Bytes with_trailer(const lib::SuiteInfo& suite, View inner, std::uint8_t next_header) {
    Bytes plain(inner.begin(), inner.end());
    std::uint8_t padding = 0;
    while ((plain.size() + 2) % suite.alignment != 0) {
        plain.push_back(++padding);
    }
    plain.push_back(padding);
    plain.push_back(next_header);
    return plain;
}

}  // namespace flowtap::test
