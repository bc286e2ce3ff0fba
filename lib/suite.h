// The ESP suites: one table of their names and key sizes.
#pragma once

#include "lib/records.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace flowtap::lib {

/// Security Parameters Index (RFC 4303 section 2.1), host byte order.
enum class Spi : std::uint32_t {};

/// 0 means "no SA"; 1..255 are reserved by IANA (RFC 4303 section 2.1).
inline constexpr std::uint32_t first_spi = 256;

struct SuiteInfo {
    Suite suite;
    std::string_view name;
    std::size_t key_size;   ///< bytes of cipher key
    std::size_t salt_size;  ///< bytes that follow the key (RFC 4106 section 8.1)
};

inline constexpr std::array<SuiteInfo, 1> suites{{
    {Suite::aes_256_gcm_16, "aes-256-gcm-16", 32, 4},
}};

/// Null for a value that names no suite (it may have come from shared memory).
constexpr const SuiteInfo* find_suite(Suite suite) {
    for (const SuiteInfo& info : suites) {
        if (info.suite == suite) {
            return &info;
        }
    }
    return nullptr;
}

constexpr const SuiteInfo* find_suite(std::string_view name) {
    for (const SuiteInfo& info : suites) {
        if (info.name == name) {
            return &info;
        }
    }
    return nullptr;
}

}  // namespace flowtap::lib
