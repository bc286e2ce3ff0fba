// AES-GCM (NIST SP 800-38D) of ESP packets whose text is gathered while it is encrypted: nothing is copied
// into place first, and several short packets are under way at a time.
//
// IPsec-MB encrypts one packet a call, from one place; a call for a short one takes as long as its 10 or 14
// rounds take one after the other. Here a burst is one call: the processor has the rounds of the next packet
// begin while those of one are waited for. It is for processors with VAES, VPCLMULQDQ and AVX-512; for all
// others, and for opening, there is IPsec-MB.
//
// No branch and no address depends on a key or a text. Round keys are read from the tables, never copied;
// nothing of key stream and hash is left in registers or on the stack. Thread safety: pure, but for what
// `texts` point to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::crypto {

/// A key's tables; to be wiped. Lies in lib::SecretBytes.
struct alignas(64) GatherKeys {
    static constexpr std::size_t powers_count = 40;

    std::array<std::array<std::uint8_t, 64>, 15> rounds;  ///< each four times over
    /// Powers of the hash key in the form that carry-less products want, the highest first; what is behind
    /// the first power is read and never counts.
    std::array<std::array<std::uint8_t, 16>, powers_count + 3> powers;
    std::uint32_t round_count;  ///< 10 or 14; 0: the processor has not what it takes
};

/// Bytes of a head, at most: the longest header in front of a copy, and some.
inline constexpr std::uint32_t largest_gather_head = 112;

/// A packet's text: head, body, trailer.
struct GatherText {
    std::uint8_t* text = nullptr;           ///< where it goes; the head is there already
    const std::uint8_t* body = nullptr;     ///< may be where it goes
    const std::uint8_t* trailer = nullptr;  ///< at most 16 bytes
    std::uint32_t head = 0;                 ///< bytes, at most largest_gather_head
    std::uint32_t length = 0;               ///< bytes of head and body
    std::uint32_t size = 0;                 ///< bytes of all, at most 2^20; the tag goes behind them
    std::uint64_t iv = 0;                   ///< as its bytes lie in memory
    std::uint64_t aad_low = 0;              ///< likewise, its first 8 bytes
    std::uint64_t aad_high = 0;             ///< the others, zeros behind them
};

/// What all packets of a burst have in common.
struct GatherTerms {
    std::uint32_t salt = 0;      ///< as its bytes lie in memory
    std::uint32_t aad_size = 0;  ///< bytes, at most 16
};

/// `schedule`: round_count + 1 round keys of 16 bytes (FIPS 197). The processor has to have what it takes.
void expand_gather_keys(const std::uint8_t* schedule, std::uint32_t round_count, GatherKeys& keys) noexcept;

/// Encrypts every text and writes its tag of 16 bytes behind it; nothing else is written.
void gather_gcm(const GatherKeys& keys, const GatherTerms& terms, const GatherText* texts,
                std::size_t count) noexcept;

}  // namespace flowtap::crypto
