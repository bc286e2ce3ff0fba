// ESP in tunnel mode (RFC 4303, RFC 4301 section 5.1): sizes on the wire, and the verdicts of sealing and
// opening.
//
//   outer IP | SPI | sequence number | IV | inner IP packet | padding | pad length | next header | ICV
//            |<------ authenticated ----->|<-------------- encrypted --------------------------->|
#pragma once

#include "lib/counters.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::crypto {

inline constexpr std::size_t ipv4_header_size = 20;
inline constexpr std::size_t ipv6_header_size = 40;
inline constexpr std::size_t esp_header_size = 8;   ///< SPI and sequence number (RFC 4303 section 2)
inline constexpr std::size_t esp_trailer_size = 2;  ///< pad length and next header
inline constexpr std::size_t udp_header_size = 8;
inline constexpr std::uint16_t udp_port = 4500;  ///< of ESP in UDP (RFC 3948)

/// What any SA of any suite may need in front of the inner packet: IPv6 header, UDP encapsulation (RFC 3948),
/// ESP header, the widest IV. Buffers reserved by these two never have to be made again for another suite.
inline constexpr std::size_t largest_headroom = ipv6_header_size + udp_header_size + esp_header_size + 16;
/// And behind it: padding to the widest block, trailer, the widest ICV. What TFC padding adds comes on top.
inline constexpr std::size_t largest_tailroom = 15 + esp_trailer_size + 32;

/// IANA protocol numbers, as the next header of ESP in tunnel mode (RFC 4303 section 2.6).
enum class NextHeader : std::uint8_t { ipv4 = 4, ipv6 = 41, esp = 50, none = 59 };

/// What became of one packet that was to be sealed.
enum class SealVerdict : std::uint8_t {
    sealed,
    not_ip,        ///< the inner packet starts with neither an IPv4 nor an IPv6 header
    wrong_length,  ///< it is to be padded, and its header says another length than it has
    too_big,       ///< the outer header's 16-bit length cannot hold it
    no_room,       ///< the buffer ends before the ICV would
    no_counter,    ///< the counter block had no value left for it
    no_cipher,     ///< key schedule and sealer are of different implementations, or the suite is unknown
    count_,
};

inline constexpr std::array<lib::CounterInfo, static_cast<std::size_t>(SealVerdict::count_)> seal_verdicts{{
    {"sealed", lib::Severity::info, "packets sealed"},
    {"seal-not-ip", lib::Severity::error, "packets refused: not an IP packet"},
    {"seal-wrong-length", lib::Severity::error,
     "packets refused: to be padded, and of another length than their header says"},
    {"seal-too-big", lib::Severity::error, "packets refused: longer than an IP packet can be"},
    {"seal-no-room", lib::Severity::error, "packets refused: the buffer is too small"},
    {"seal-no-counter", lib::Severity::error, "packets refused: no sequence number left in the block"},
    {"seal-no-cipher", lib::Severity::error,
     "packets refused: the cipher failed, or is not of the key's implementation"},
}};

/// What became of one ESP packet that was to be opened, in the order of the checks (RFC 4303 section 3.4).
enum class OpenVerdict : std::uint8_t {
    opened,
    wrong_spi,        ///< of another SA
    truncated,        ///< shorter than header, IV, trailer and ICV
    misaligned,       ///< the ciphertext does not end on a boundary of 4 bytes or of the cipher's block (RFC
                      ///< 4303 section 2.4)
    zero_sequence,    ///< sequence number 0, which no sender uses without a wrap (RFC 4303 section 3.3.3)
    replayed,         ///< seen before
    too_old,          ///< left of the replay window
    bad_icv,          ///< forged, damaged, or another key
    bad_padding,      ///< not 1, 2, 3, ... or longer than the packet
    bad_next_header,  ///< neither IPv4 nor IPv6
    dummy,      ///< next header 59: traffic-flow filler (RFC 4303 section 2.6), to be dropped in silence
    bad_inner,  ///< the inner header is not of the next header's version, or longer than what arrived
    no_cipher,  ///< key schedule and opener are of different implementations, or the library failed
    count_,
};

inline constexpr std::array<lib::CounterInfo, static_cast<std::size_t>(OpenVerdict::count_)> open_verdicts{{
    {"opened", lib::Severity::info, "packets opened"},
    {"open-wrong-spi", lib::Severity::warning, "packets refused: no such SPI"},
    {"open-truncated", lib::Severity::warning, "packets refused: too short for ESP"},
    {"open-misaligned", lib::Severity::warning, "packets refused: ciphertext does not end on a boundary"},
    {"open-zero-sequence", lib::Severity::warning, "packets refused: sequence number 0"},
    {"open-replayed", lib::Severity::warning, "packets refused: sequence number seen before"},
    {"open-too-old", lib::Severity::warning, "packets refused: sequence number left of the replay window"},
    {"open-bad-icv", lib::Severity::error, "packets refused: integrity check failed"},
    {"open-bad-padding", lib::Severity::error, "packets refused: padding is not 1, 2, 3, ..."},
    {"open-bad-next-header", lib::Severity::warning, "packets refused: neither IPv4 nor IPv6 inside"},
    {"open-dummy", lib::Severity::info, "dummy packets, dropped"},
    {"open-bad-inner", lib::Severity::warning, "packets refused: impossible inner IP header"},
    {"open-no-cipher", lib::Severity::error,
     "packets refused: the cipher failed, or is not of the key's implementation"},
}};

}  // namespace flowtap::crypto
