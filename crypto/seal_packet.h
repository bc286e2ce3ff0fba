// What sealing a packet is besides the cipher (RFC 4303 section 3.3): its verdict, its headers, its padding.
// For the .cc files of this folder.
#pragma once

#include "crypto/big_endian.h"
#include "crypto/esp.h"
#include "crypto/outbound_sa.h"
#include "crypto/sealer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace flowtap::crypto {

/// The inner packet's part in the outer one.
struct Inner {
    NextHeader version = NextHeader::none;  ///< none: not an IP packet
    std::uint8_t ds = 0;                    ///< DS field and ECN
    std::uint32_t header = 0;               ///< bytes of its fixed header
};

[[gnu::always_inline]] inline Inner inspect(const SealJob& job) {
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

/// Whether the receiver can tell the packet from zeros behind it: only by the length that its header says
/// (RFC 4303 section 2.7).
inline bool says_its_length(const SealJob& job, NextHeader version) {
    return job.length == (version == NextHeader::ipv4
                              ? load_big_endian<std::uint16_t>(job.inner + 2)
                              : ipv6_header_size + load_big_endian<std::uint16_t>(job.inner + 4));
}

/// Sizes of a suite; known to the compiler where that pays.
struct Geometry {
    std::size_t iv_size;
    std::size_t alignment;
    std::size_t icv_size;
};

/// A packet whose headers are written.
struct Prepared {
    std::uint8_t* esp = nullptr;  ///< the SPI
    std::size_t length = 0;       ///< bytes of the inner packet, filled up
    std::size_t padded = 0;       ///< bytes of padding
    std::size_t text = 0;         ///< bytes to encrypt, behind ESP header and IV
    NextHeader inner = NextHeader::none;
};

/// 1, 2, 3, ... as the padding is (RFC 4303 section 2.4).
inline constexpr auto counting = [] {
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::uint8_t>(i + 1);
    }
    return bytes;
}();

/// Decides on the packet; if it is to be sealed, writes all in front of its IV and fills in the job.
[[gnu::always_inline]] inline SealVerdict prepare(const OutboundSa& sa, const Geometry& size,
                                                  std::uint64_t counter, SealJob& job, Prepared& prepared) {
    const Inner inner = inspect(job);
    if (inner.version == NextHeader::none) {
        return SealVerdict::not_ip;
    }
    const std::size_t length = sa.filled_length(job.length);
    if (length != job.length && !says_its_length(job, inner.version)) [[unlikely]] {
        return SealVerdict::wrong_length;
    }
    const std::size_t padded = (0 - (length + esp_trailer_size)) & (size.alignment - 1);
    const std::size_t text = length + padded + esp_trailer_size;
    if (job.room < text + size.icv_size) {
        return SealVerdict::no_room;
    }
    const std::size_t payload = esp_header_size + size.iv_size + text + size.icv_size;
    if (payload > sa.outer().largest_payload()) {
        return SealVerdict::too_big;
    }

    std::uint8_t* const esp = job.inner - esp_header_size - size.iv_size;
    store_big_endian(esp, std::uint64_t{std::to_underlying(sa.spi())} << 32 | (counter & UINT32_MAX));

    job.sealed = esp - sa.outer().size();
    job.sealed_length = static_cast<std::uint32_t>(sa.outer().size() + payload);
    sa.outer().write(job.sealed, payload, inner.ds, static_cast<std::uint16_t>(counter));
    prepared = {.esp = esp, .length = length, .padded = padded, .text = text, .inner = inner.version};
    return SealVerdict::sealed;
}

/// Moves the body to the inner packet, and fills that up.
inline void put_together(const SealJob& job, const Prepared& packet) {
    if (job.body != nullptr) {
        std::memcpy(job.inner + job.length - job.body_length, job.body, job.body_length);
    }
    if (packet.length != job.length) [[unlikely]] {
        std::memset(job.inner + job.length, 0, packet.length - job.length);
    }
}

/// And writes the trailer.
[[gnu::always_inline]] inline void complete(const SealJob& job, const Geometry& size,
                                            const Prepared& packet) {
    put_together(job, packet);
    std::uint8_t* const padding = job.inner + packet.length;
    if (size.alignment == 4) {
        // 0 to 3 bytes; writing all three saves a branch, and what is too much gets overwritten.
        std::memcpy(padding, counting.data(), 3);
    } else {
        std::memcpy(padding, counting.data(), packet.padded);
    }
    padding[packet.padded] = static_cast<std::uint8_t>(packet.padded);
    padding[packet.padded + 1] = std::to_underlying(packet.inner);
}

inline void finish(const OutboundSa& sa, const SealJob& job) {
    if (sa.outer().has_checksum()) [[unlikely]] {
        sa.outer().finish(job.sealed, job.sealed_length - sa.outer().size());
    }
}

}  // namespace flowtap::crypto
