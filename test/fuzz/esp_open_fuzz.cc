// Opening ESP. The first byte chooses: 0, the rest is an ESP packet as it came from the wire; else the rest
// is a plaintext with its trailer, which is sealed right, so that the checks behind the ICV get their share.
#include "crypto/engine.h"
#include "crypto/inbound_sa.h"
#include "crypto/opener.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace flowtap::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::array<std::uint8_t, 36> key{1, 2, 3, 4, 5, 6, 7, 8, 9};
constexpr std::array<std::uint8_t, 16> head{0, 0, 0x10, 0x01, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 7};

void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "violated: %s\n", what);
        std::abort();
    }
}

/// SPI 0x1001, sequence number and IV 7; sealed by OpenSSL.
Bytes sealed(std::span<const std::uint8_t> plain) {
    Bytes packet(head.begin(), head.end());
    packet.resize(head.size() + plain.size() + 16);
    std::array<std::uint8_t, 12> nonce{};
    std::copy_n(key.begin() + 32, 4, nonce.begin());
    std::copy_n(head.begin() + 8, 8, nonce.begin() + 4);
    const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                  &EVP_CIPHER_CTX_free);
    int length = 0;
    std::uint8_t* const text = packet.data() + head.size();
    const bool done =
        EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.data(), nonce.data()) == 1 &&
        EVP_EncryptUpdate(context.get(), nullptr, &length, head.data(), 8) == 1 &&
        EVP_EncryptUpdate(context.get(), text, &length, plain.data(), static_cast<int>(plain.size())) == 1 &&
        EVP_EncryptFinal_ex(context.get(), text + plain.size(), &length) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, 16, text + plain.size()) == 1;
    require(done, "OpenSSL seals");
    return packet;
}

crypto::Opener& opener() {
    static crypto::Opener only = crypto::Opener::create(crypto::Engine::create().value()).value();
    return only;
}

void check(Bytes packet, bool is_authentic) {
    using crypto::OpenVerdict;
    static const auto sa =
        crypto::InboundSa::create(opener().engine(),
                                  {.spi = lib::Spi{0x1001}, .key = key, .window = std::nullopt})
            .value();
    // Every input sees a window that has seen nothing.
    sa->window().emplace(64);
    const Bytes before = packet;
    const crypto::Opened result = opener().open(*sa, packet);
    require(result.verdict < OpenVerdict::count_, "the verdict is one of the names");
    require((result.verdict == OpenVerdict::opened) == !result.inner.empty(),
            "an opened packet has a content");
    if (is_authentic) {
        require(result.verdict != OpenVerdict::bad_icv && result.verdict != OpenVerdict::wrong_spi &&
                    result.verdict != OpenVerdict::replayed,
                "a rightly sealed packet passes the ICV check");
    }
    if (!result.inner.empty()) {
        require(
            result.inner.data() == packet.data() + 16 && result.inner.size() + 16 + 2 + 16 <= packet.size(),
            "the content lies between IV and trailer");
        require(result.inner[0] >> 4 == (result.next_header == crypto::NextHeader::ipv4 ? 4 : 6),
                "the content is of the version that the next header says");
        Bytes again = before;
        require(opener().open(*sa, again).verdict == OpenVerdict::replayed, "a packet opens once");
    }
}

}  // namespace
}  // namespace flowtap::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const std::span<const std::uint8_t> rest(data + 1, size - 1);
    if (data[0] == 0) {
        flowtap::test::check({rest.begin(), rest.end()}, false);
    } else {
        flowtap::test::check(flowtap::test::sealed(rest), true);
    }
    return 0;
}
