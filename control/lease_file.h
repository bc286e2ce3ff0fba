// The text of the file `leases`: what is on record of each key. Parsing and writing, no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>

namespace flowtap::control {

/// Digest of the cipher key alone, without SPI and salt: a key keeps its record whatever else changes.
using KeyDigest = std::array<std::uint8_t, 32>;

struct KeyRecord {
    std::uint64_t next = 1;  ///< counter values below were granted (RFC 4303 section 3.3.3: the first is 1)
    std::int64_t first_use = 0;  ///< UTC, seconds since 1970: of the first grant; 0: there was none
    std::uint64_t seconds = 0;   ///< since then, at least: a clock that is set back makes no key younger
    std::uint64_t bytes = 0;     ///< that went through the cipher, at most
    bool spent = false;          ///< never to be used again

    bool operator==(const KeyRecord&) const = default;
};

struct LeaseFile {
    std::uint64_t generation = 0;
    std::map<KeyDigest, KeyRecord> keys;
};

std::string write_lease_file(const LeaseFile& file);

/// Also of the first version, which knew of counters alone. Errors say what is wrong.
std::expected<LeaseFile, std::string> parse_lease_file(std::string_view content);

}  // namespace flowtap::control
