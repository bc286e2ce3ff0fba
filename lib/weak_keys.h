// What makes a key one that must not be used, whoever made it: it is no random number.
#pragma once

#include "lib/suite.h"

#include <cstdint>
#include <span>
#include <string>

namespace flowtap::lib {

/// What is wrong with the key of a cipher or an HMAC, never a part of it; empty: nothing. A pattern of up to
/// 8 bytes that fills the key is what is typed to try something out.
std::string pattern_weakness(std::span<const std::uint8_t> key);

/// The same of a suite's cipher key without its salt, and of what the cipher itself must not have.
std::string cipher_key_weakness(const SuiteInfo& suite, std::span<const std::uint8_t> key);

}  // namespace flowtap::lib
