// The file of one static security association.
//
//     spi = 0x1001                  # 256 or more
//     suite = "aes-256-gcm-16"      # a name of lib/suite.h
//     key = "00112233..."           # hexadecimal: the cipher's key, then its salt (RFC 4106 section 8.1)
//
// and, for the suites with an HMAC,
//
//     authentication-key = "44..."  # hexadecimal, as long as the hash (RFC 2404, RFC 4868 section 2.1.1)
//
// and, if wanted,
//
//     extended-sequence-numbers = true  # both ends count to 2^64 (RFC 4303 section 2.2.1)
//     udp-encapsulation = true          # in UDP from and to port 4500 (RFC 3948)
//     padded-length = 1400              # inner packets look alike: filled to so many bytes (section 2.7)
//     soft-lifetime-seconds = 86400     # from here on the tunnel's next SA takes over; also -packets, -bytes
//     hard-lifetime-seconds = 90000     # here it ends, whatever follows; also -packets, -bytes
//
// (lib/sa_lifetime.h says what holds where a lifetime is left out.)
// The keys' text is wiped, and the TOML parser never sees it: it parses a copy in which the keys are masked.
// Hence each key has to stand on a line of its own.
#pragma once

#include "lib/config.h"
#include "lib/sa_lifetime.h"
#include "lib/secret.h"
#include "lib/suite.h"

#include <expected>
#include <filesystem>
#include <string_view>
#include <vector>

namespace flowtap::lib {

struct StaticSa {
    Spi spi{};
    Suite suite = Suite::aes_256_gcm_16;
    SecretBytes key;  ///< SuiteInfo::key_material_size() bytes: cipher key, then salt or authentication key
    bool extended_sequence = false;
    bool udp_encapsulation = false;
    std::uint16_t padded_length = 0;  ///< 0: not padded
    SaLifetimes lifetimes;
};

/// Refuses a file that is not regular or whose mode is wider than 0600. Errors say file, line, column, what
/// was found (never the key) and what would be right; all errors of the file are reported together.
std::expected<StaticSa, std::vector<ConfigError>> load_sa_file(const std::filesystem::path& file);

/// The same from text, which is the caller's to wipe; `name` stands for the file in messages.
std::expected<StaticSa, std::vector<ConfigError>> parse_sa_file(std::string_view text, std::string_view name);

}  // namespace flowtap::lib
