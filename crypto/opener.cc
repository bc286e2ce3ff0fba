#include "crypto/opener.h"

#include "crypto/big_endian.h"
#include "crypto/cipher_jobs.h"
#include "crypto/ipsec_mb.h"
#include "crypto/key_tables.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

namespace flowtap::crypto {
namespace {

std::size_t around_ciphertext(const lib::SuiteInfo& suite) {
    return esp_header_size + suite.iv_size + std::size_t{suite.icv_size};
}

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
                                                     std::optional<std::uint64_t> sequence) {
    const lib::SuiteInfo& suite = sa.key().suite();
    const std::size_t around = around_ciphertext(suite);
    if (esp.size() < around + esp_trailer_size) {
        return OpenVerdict::truncated;
    }
    if (((esp.size() - around) & (std::size_t{suite.alignment} - 1)) != 0) {  // a power of two
        return OpenVerdict::misaligned;
    }
    if (!sequence) {
        return OpenVerdict::too_old;
    }
    if (*sequence == 0) {
        return OpenVerdict::zero_sequence;
    }
    switch (sa.check(*sequence)) {
        case ReplayWindow::Answer::fresh:
            break;
        case ReplayWindow::Answer::replayed:
            return OpenVerdict::replayed;
        case ReplayWindow::Answer::too_old:
            return OpenVerdict::too_old;
    }
    return std::nullopt;
}

/// `opened`: the text is what was sealed.
OpenVerdict open_gcm(IMB_MGR& manager, gcm_context_data& context, const InboundSa& sa, std::uint64_t sequence,
                     std::span<std::uint8_t> esp, std::span<std::uint8_t> text) {
    constexpr std::size_t icv_size = 16;
    const lib::SuiteInfo& suite = sa.key().suite();
    const KeyTables& keys = sa.key().tables();
    std::array<std::uint8_t, 12> nonce{};
    std::ranges::copy(keys.salt, nonce.begin());
    std::ranges::copy(esp.subspan<esp_header_size, 8>(), nonce.begin() + 4);
    std::array<std::uint8_t, 12> long_aad;
    const std::uint8_t* aad = esp.data();
    std::size_t aad_size = esp_header_size;
    if (sa.extended_sequence()) {
        aad_size = write_extended_aad(sa.spi(), sequence, long_aad);
        aad = long_aad.data();
    }
    std::array<std::uint8_t, icv_size> icv{};
    const auto decrypt = suite.cipher_key_size == IMB_KEY_256_BYTES ? manager.gcm256_dec : manager.gcm128_dec;
    decrypt(&keys.gcm, &context, text.data(), text.data(), text.size(), nonce.data(), aad, aad_size,
            icv.data(), icv_size);
    return lib::constant_time_equal(icv, esp.last(icv_size)) ? OpenVerdict::opened : OpenVerdict::bad_icv;
}

OpenVerdict open_by_jobs(IMB_MGR& manager, const InboundSa& sa, std::uint64_t sequence,
                         std::span<std::uint8_t> esp, std::span<std::uint8_t> text) {
    const lib::SuiteInfo& suite = sa.key().suite();
    // Where the received ICV is, the high sequence bits stand while they are hashed.
    std::array<std::uint8_t, 32> received{};
    std::array<std::uint8_t, 32> computed{};
    std::ranges::copy(esp.last(suite.icv_size), received.begin());
    CipherTask task = task_of(suite, esp.data(), text.size());
    bind_sequence(suite, sa.key().tables(), sa.extended_sequence(), sequence, task);
    task.icv = computed.data();
    if (!run(manager, suite, sa.key().tables(), Direction::open, std::span(&task, 1))) {
        return OpenVerdict::no_cipher;
    }
    const bool equal = lib::constant_time_equal(std::span(computed).first(suite.icv_size),
                                                std::span(received).first(suite.icv_size));
    return equal ? OpenVerdict::opened : OpenVerdict::bad_icv;
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
    const auto sequence = sa.whole_sequence(load_big_endian<std::uint32_t>(esp.data() + 4));
    result.sequence = sequence.value_or(0);
    if (const auto refusal = refused_before_decryption(sa, esp, sequence)) {
        result.verdict = *refusal;
        return result;
    }
    const lib::SuiteInfo& suite = sa.key().suite();
    if (sa.key().implementation() != engine_.implementation()) {
        result.verdict = OpenVerdict::no_cipher;
        return result;
    }
    result.iv = suite.combined() ? load_big_endian<std::uint64_t>(esp.data() + esp_header_size) : 0;

    const auto text = esp.subspan(esp_header_size + suite.iv_size, esp.size() - around_ciphertext(suite));
    IMB_MGR& manager = *engine_.manager();
    if (suite.cipher == lib::Cipher::aes_gcm) {
        auto& context = *static_cast<gcm_context_data*>(static_cast<void*>(context_.data()));
        result.verdict = open_gcm(manager, context, sa, result.sequence, esp, text);
    } else {
        result.verdict = open_by_jobs(manager, sa, result.sequence, esp, text);
    }
    if (result.verdict != OpenVerdict::opened) {
        OPENSSL_cleanse(text.data(), text.size());
        return result;
    }
    sa.seen(result.sequence);

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
