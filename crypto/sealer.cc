#include "crypto/sealer.h"

#include "crypto/big_endian.h"
#include "crypto/ipsec_mb.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace flowtap::crypto {
namespace {

/// What all packets of a burst share, at hand for the loop.
struct Gcm {
    aes_gcm_enc_dec_t encrypt;
    gcm_context_data* context;
    const gcm_key_data* schedule;
    /// Salt, then the IV of the packet at work (RFC 4106 section 4).
    std::array<std::uint8_t, 4 + gcm_iv_size> nonce;
};

/// The inner packet's part in the outer one.
struct Inner {
    NextHeader version = NextHeader::none;  ///< none: not an IP packet
    std::uint8_t ds = 0;                    ///< DS field and ECN
    std::uint32_t header = 0;               ///< bytes of its fixed header
};

Inner inspect(const SealJob& job) {
    const std::uint32_t in_place =
        job.length - std::min(job.length, job.body != nullptr ? job.body_length : 0);
    if (in_place >= ipv4_header_size && job.inner[0] >> 4 == 4) {
        return {NextHeader::ipv4, job.inner[1], ipv4_header_size};
    }
    if (in_place >= ipv6_header_size && job.inner[0] >> 4 == 6) {
        const auto ds = static_cast<std::uint8_t>(job.inner[0] << 4 | job.inner[1] >> 4);
        return {NextHeader::ipv6, ds, ipv6_header_size};
    }
    return {};
}

SealVerdict seal(const OutboundSa& sa, Gcm& gcm, std::uint64_t counter, SealJob& job) {
    const Inner inner = inspect(job);
    if (inner.version == NextHeader::none) {
        return SealVerdict::not_ip;
    }
    const std::size_t length = job.length;
    const std::size_t tail = OutboundSa::tailroom(length);
    if (job.room < length + tail) {
        return SealVerdict::no_room;
    }
    const std::size_t payload = esp_header_size + gcm_iv_size + length + tail;
    if (payload > sa.outer().largest_payload()) {
        return SealVerdict::too_big;
    }

    if (job.body != nullptr) {
        std::memcpy(job.inner + length - job.body_length, job.body, job.body_length);
    }
    // Padding is 0 to 3 bytes; writing all three saves a branch, and what is too much gets overwritten.
    std::uint8_t* const padding = job.inner + length;
    const std::size_t padded = tail - esp_trailer_size - gcm_icv_size;
    padding[0] = 1;
    padding[1] = 2;
    padding[2] = 3;
    padding[padded] = static_cast<std::uint8_t>(padded);
    padding[padded + 1] = std::to_underlying(inner.version);

    std::uint8_t* const esp = job.inner - esp_header_size - gcm_iv_size;
    store_big_endian(esp, std::to_underlying(sa.spi()));
    store_big_endian(esp + 4, static_cast<std::uint32_t>(counter));
    store_big_endian(esp + esp_header_size, counter);
    store_big_endian(gcm.nonce.data() + 4, counter);

    job.sealed = esp - sa.outer().size();
    job.sealed_length = static_cast<std::uint32_t>(sa.outer().size() + payload);
    sa.outer().write(job.sealed, payload, inner.ds, static_cast<std::uint16_t>(counter));

    // The AAD is the ESP header as it stands in the packet (RFC 4106 section 5).
    gcm.encrypt(gcm.schedule, gcm.context, job.inner, job.inner, length + padded + esp_trailer_size,
                gcm.nonce.data(), esp, esp_header_size, padding + padded + esp_trailer_size, gcm_icv_size);
    return SealVerdict::sealed;
}

}  // namespace

std::expected<Sealer, std::string> Sealer::create(Engine engine) {
    auto context = lib::SecretBytes::allocate(sizeof(gcm_context_data));
    if (!context) {
        return std::unexpected(context.error());
    }
    return Sealer(std::move(engine), std::move(*context));
}

std::size_t Sealer::seal_burst(CounterBlock block, std::span<SealJob> jobs) {
    const OutboundSa& sa = block.sa();
    if (sa.key().implementation() != engine_.implementation()) {
        for (SealJob& job : jobs) {
            job.verdict = SealVerdict::no_cipher;
        }
        return 0;
    }
    Gcm gcm{engine_.manager()->gcm256_enc,
            static_cast<gcm_context_data*>(static_cast<void*>(context_.data())),
            sa.key().gcm(),
            {}};
    std::ranges::copy(sa.key().salt(), gcm.nonce.begin());

    const std::size_t counted = std::min<std::size_t>(block.count(), jobs.size());
    std::size_t sealed = 0;
    for (std::size_t i = 0; i < counted; ++i) {
        jobs[i].verdict = seal(sa, gcm, block.first() + i, jobs[i]);
        if (jobs[i].verdict == SealVerdict::sealed) {
            ++sealed;
        }
    }
    for (SealJob& job : jobs.subspan(counted)) {
        job.verdict = SealVerdict::no_counter;
    }
    return sealed;
}

}  // namespace flowtap::crypto
