#include "crypto/opener.h"

#include "crypto/big_endian.h"
#include "crypto/ipsec_mb.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace flowtap::crypto {
namespace {

constexpr std::size_t around_ciphertext = esp_header_size + gcm_iv_size + gcm_icv_size;

/// What is left of a decrypted payload without padding and trailer (RFC 4303 section 2.4); nullopt: bad
/// padding.
std::optional<std::span<std::uint8_t>> without_trailer(std::span<std::uint8_t> plain) {
    const std::size_t padded = plain[plain.size() - 2];
    if (padded + esp_trailer_size > plain.size()) {
        return std::nullopt;
    }
    const auto content = plain.first(plain.size() - esp_trailer_size - padded);
    for (std::size_t i = 0; i < padded; ++i) {
        if (plain[content.size() + i] != i + 1) {
            return std::nullopt;
        }
    }
    return content;
}

/// The inner packet by its own length field: what follows it is TFC padding (RFC 4303 section 2.7). Empty:
/// its header is not of the version that was announced, or longer than the payload.
std::span<std::uint8_t> inner_packet(std::span<std::uint8_t> payload, NextHeader version) {
    if (version == NextHeader::ipv4) {
        if (payload.size() < ipv4_header_size || payload[0] >> 4 != 4) {
            return {};
        }
        const std::size_t header = std::size_t{4} * (payload[0] & 0x0fU);
        const std::size_t total = load_big_endian<std::uint16_t>(payload.data() + 2);
        const bool possible = header >= ipv4_header_size && total >= header && total <= payload.size();
        return possible ? payload.first(total) : std::span<std::uint8_t>{};
    }
    if (payload.size() < ipv6_header_size || payload[0] >> 4 != 6) {
        return {};
    }
    const std::size_t total = ipv6_header_size + load_big_endian<std::uint16_t>(payload.data() + 4);
    return total <= payload.size() ? payload.first(total) : std::span<std::uint8_t>{};
}

/// The checks that need no cipher; nullopt: go on.
std::optional<OpenVerdict> refused_before_decryption(const InboundSa& sa, std::span<const std::uint8_t> esp,
                                                     std::uint32_t sequence) {
    if (esp.size() < around_ciphertext + esp_trailer_size) {
        return OpenVerdict::truncated;
    }
    if ((esp.size() - around_ciphertext) % 4 != 0) {
        return OpenVerdict::misaligned;
    }
    if (sequence == 0) {
        return OpenVerdict::zero_sequence;
    }
    if (sa.window()) {
        switch (sa.window()->check(sequence)) {
            case ReplayWindow::Answer::fresh:
                break;
            case ReplayWindow::Answer::replayed:
                return OpenVerdict::replayed;
            case ReplayWindow::Answer::too_old:
                return OpenVerdict::too_old;
        }
    }
    return std::nullopt;
}

}  // namespace

std::expected<Opener, std::string> Opener::create(Engine engine) {
    auto context = lib::SecretBytes::allocate(sizeof(gcm_context_data));
    if (!context) {
        return std::unexpected(context.error());
    }
    return Opener(std::move(engine), std::move(*context));
}

Opened Opener::open(InboundSa& sa, std::span<std::uint8_t> esp) {
    Opened result;
    if (esp.size() < esp_header_size) {
        result.verdict = OpenVerdict::truncated;
        return result;
    }
    if (load_big_endian<std::uint32_t>(esp.data()) != std::to_underlying(sa.spi())) {
        result.verdict = OpenVerdict::wrong_spi;
        return result;
    }
    result.sequence = load_big_endian<std::uint32_t>(esp.data() + 4);
    if (const auto refusal = refused_before_decryption(sa, esp, result.sequence)) {
        result.verdict = *refusal;
        return result;
    }
    if (sa.key().implementation() != engine_.implementation()) {
        result.verdict = OpenVerdict::no_cipher;
        return result;
    }
    result.iv = load_big_endian<std::uint64_t>(esp.data() + esp_header_size);

    std::array<std::uint8_t, 4 + gcm_iv_size> nonce{};
    std::ranges::copy(sa.key().salt(), nonce.begin());
    std::ranges::copy(esp.subspan(esp_header_size, gcm_iv_size), nonce.begin() + 4);
    const auto text = esp.subspan(esp_header_size + gcm_iv_size, esp.size() - around_ciphertext);
    std::array<std::uint8_t, gcm_icv_size> icv{};
    engine_.manager()->gcm256_dec(
        sa.key().gcm(), static_cast<gcm_context_data*>(static_cast<void*>(context_.data())), text.data(),
        text.data(), text.size(), nonce.data(), esp.data(), esp_header_size, icv.data(), icv.size());
    if (!lib::constant_time_equal(icv, esp.last(gcm_icv_size))) {
        OPENSSL_cleanse(text.data(), text.size());
        result.verdict = OpenVerdict::bad_icv;
        return result;
    }
    if (sa.window()) {
        sa.window()->mark(result.sequence);
    }

    const auto payload = without_trailer(text);
    result.next_header = NextHeader{text.back()};
    if (!payload) {
        result.verdict = OpenVerdict::bad_padding;
    } else if (result.next_header == NextHeader::none) {
        result.verdict = OpenVerdict::dummy;
    } else if (result.next_header != NextHeader::ipv4 && result.next_header != NextHeader::ipv6) {
        result.verdict = OpenVerdict::bad_next_header;
    } else if (result.inner = inner_packet(*payload, result.next_header); result.inner.empty()) {
        result.verdict = OpenVerdict::bad_inner;
    } else {
        result.verdict = OpenVerdict::opened;
    }
    return result;
}

}  // namespace flowtap::crypto
