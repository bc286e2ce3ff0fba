// A burst of packets through IPsec-MB's jobs: the suites that it computes for several packets at a time.
//
// CBC and HMAC are sequential within a packet, so the library fills the lanes of its vectors with different
// packets; a burst of 16 or more costs little more than one packet. For the .cc files of this folder.
#pragma once

#include "crypto/key_tables.h"
#include "lib/suite.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace flowtap::crypto {

/// Packets that one call takes: what the library's queue holds twice over.
inline constexpr std::size_t largest_burst = 64;

/// One packet as the cipher sees it: SPI, sequence number, IV, text, and room for the ICV.
struct CipherTask {
    std::uint8_t* esp = nullptr;  ///< the SPI
    std::uint8_t* icv = nullptr;  ///< where the computed ICV goes
    std::uint32_t text = 0;       ///< bytes that are encrypted, behind header and IV
    std::uint32_t hashed = 0;  ///< HMAC: bytes from the SPI on, with the high sequence bits where they count
    std::uint32_t additional = 0;  ///< AEAD: bytes of `aad`
    std::array<std::uint8_t, 12> aad{};
    std::array<std::uint8_t, 12> nonce{};
};

/// A packet with the SPI at `esp` and `text` bytes behind the IV; the ICV follows in place.
CipherTask task_of(const lib::SuiteInfo& suite, std::uint8_t* esp, std::size_t text);

/// The ESP header as AAD, with the whole sequence number in it (RFC 4106 section 5); its bytes.
std::size_t write_extended_aad(lib::Spi spi, std::uint64_t sequence, std::array<std::uint8_t, 12>& aad);

/// Fills in what the ICV covers besides the packet: AEAD's nonce and AAD (RFC 4106 sections 4 and 5, RFC 7634
/// section 2), whose IV is in place; HMAC's high sequence bits, written behind the text (RFC 4303 section
/// 3.3.2.1), where the ICV goes later.
void bind_sequence(const lib::SuiteInfo& suite, const KeyTables& keys, bool extended, std::uint64_t sequence,
                   CipherTask& task);

enum class Direction : std::uint8_t { seal, open };

/// Encrypts or decrypts in place, and computes all ICVs (over the ciphertext in both directions). At most
/// largest_burst tasks. False: the library did not complete them, and nothing of them may be used.
bool run(IMB_MGR& manager, const lib::SuiteInfo& suite, const KeyTables& keys, Direction direction,
         std::span<CipherTask> tasks);

/// CBC: writes the IV of each packet. It is the packet's counter value (`first`, `first` + 1, ... by
/// `places`) encrypted under the IV key by a cipher of the suite's block size: a permutation, so that no IV
/// comes twice as long as no counter value does, and unpredictable (RFC 3602 section 3) without the key.
bool write_ivs(IMB_MGR& manager, const lib::SuiteInfo& suite, const KeyTables& keys,
               std::span<const CipherTask> tasks, std::span<const std::uint64_t> counters);

}  // namespace flowtap::crypto
