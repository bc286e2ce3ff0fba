// The file of one static security association.
//
//     spi = 0x1001                # 256 or more
//     suite = "aes-256-gcm-16"
//     key = "00112233..."         # hexadecimal: the cipher's key, then its salt (RFC 4106 section 8.1)
//
// The key's text is wiped, and the TOML parser never sees it: it parses a copy in which the key is masked.
// Hence `key` has to stand on a line of its own.
#pragma once

#include "lib/config.h"
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
    SecretBytes key;  ///< key_size + salt_size bytes of the suite
};

/// Refuses a file that is not regular or whose mode is wider than 0600. Errors say file, line, column, what
/// was found (never the key) and what would be right; all errors of the file are reported together.
std::expected<StaticSa, std::vector<ConfigError>> load_sa_file(const std::filesystem::path& file);

/// The same from text, which is the caller's to wipe; `name` stands for the file in messages.
std::expected<StaticSa, std::vector<ConfigError>> parse_sa_file(std::string_view text, std::string_view name);

}  // namespace flowtap::lib
