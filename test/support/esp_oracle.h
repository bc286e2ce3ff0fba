// ESP by OpenSSL for every suite: an oracle that shares no code with crypto/, nor with IPsec-MB.
//
// It reads and writes ESP packets, from the SPI to the ICV, by the RFCs' words: 4303, 4106, 7634, 3602, 2451,
// 2404, 4868. It aborts when OpenSSL itself fails.
#pragma once

#include "lib/suite.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace flowtap::test {

struct EspOracle {
    lib::Suite suite;
    std::vector<std::uint8_t> key;  ///< cipher key, then salt or authentication key
    bool extended_sequence = false;

    /// `plain`: with its trailer, of a length that the cipher can do. `iv` is as long as the suite's.
    std::vector<std::uint8_t> seal(std::uint32_t spi, std::uint64_t sequence,
                                   std::span<const std::uint8_t> iv,
                                   std::span<const std::uint8_t> plain) const;

    /// The plaintext with its trailer; null: the ICV is wrong. Only the sequence number's high half is taken
    /// from `sequence`.
    std::optional<std::vector<std::uint8_t>> open(std::span<const std::uint8_t> esp,
                                                  std::uint64_t sequence) const;
};

/// `inner` with padding 1, 2, 3, ... to the suite's alignment, pad length and next header.
std::vector<std::uint8_t> with_trailer(const lib::SuiteInfo& suite, std::span<const std::uint8_t> inner,
                                       std::uint8_t next_header);

}  // namespace flowtap::test
