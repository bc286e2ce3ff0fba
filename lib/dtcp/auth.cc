#include "lib/dtcp/auth.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <cassert>
#include <cstddef>
#include <cstdlib>

namespace flowtap::lib::dtcp {
namespace {

constexpr std::size_t hex_size = 2 * std::tuple_size_v<Hmac::Digest>;
using Hex = std::array<char, hex_size>;

Hex to_hex(const Hmac::Digest& digest) {
    constexpr std::string_view digits = "0123456789abcdef";
    Hex hex{};
    for (std::size_t i = 0; i < digest.size(); ++i) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 0xf];
    }
    return hex;
}

}  // namespace

void Hmac::Free::operator()(evp_mac_ctx_st* context) const {
    EVP_MAC_CTX_free(context);
}

std::expected<Hmac, std::string> Hmac::create(std::span<const std::uint8_t> key) {
    if (key.empty()) {
        return std::unexpected("the key is empty: at least one byte is needed");
    }
    const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> mac{EVP_MAC_fetch(nullptr, "HMAC", nullptr),
                                                                &EVP_MAC_free};
    Context context{mac ? EVP_MAC_CTX_new(mac.get()) : nullptr};
    std::string digest = "SHA1";
    const std::array<OSSL_PARAM, 2> parameters{
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_end()};
    if (!context || EVP_MAC_init(context.get(), key.data(), key.size(), parameters.data()) != 1) {
        return std::unexpected("OpenSSL offers no HMAC-SHA1: its default provider is needed");
    }
    return Hmac{std::move(context)};
}

Hmac::Digest Hmac::digest(std::string_view bytes) {
    Digest digest{};
    std::size_t size = 0;
    // Without a key the scheduled one is used again.
    const bool done = EVP_MAC_init(context_.get(), nullptr, 0, nullptr) == 1 &&
                      EVP_MAC_update(context_.get(), reinterpret_cast<const unsigned char*>(bytes.data()),
                                     bytes.size()) == 1 &&
                      EVP_MAC_final(context_.get(), digest.data(), &size, digest.size()) == 1;
    // A digest that was not computed must never be compared with anything.
    if (!done || size != digest.size()) {
        std::abort();
    }
    return digest;
}

std::string Hmac::hex(std::string_view bytes) {
    const Hex text = to_hex(digest(bytes));
    return {text.begin(), text.end()};
}

bool Hmac::verify(const Request& request) {
    const auto given = request.authentication_info();
    return given && verify(request.signed_bytes(), *given);
}

bool Hmac::verify(std::string_view bytes, std::string_view expected) {
    if (expected.size() != hex_size) {
        return false;
    }
    const Hex right = to_hex(digest(bytes));
    return CRYPTO_memcmp(right.data(), expected.data(), hex_size) == 0;
}

void Hmac::sign(std::string& message) {
    assert(message.ends_with('\n'));
    const Hex text = to_hex(digest(message));
    message += "AUTHENTICATION-INFO: ";
    message.append(text.data(), text.size());
    message += "\r\n\r\n";
}

}  // namespace flowtap::lib::dtcp
