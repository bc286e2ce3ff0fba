// Keeps the keys of an SA file away from the TOML parser, whose buffers nobody wipes: it is given a copy in
// which each key's digits are masked, with every line and column where it was.
//
// Hence a key has to stand on a line of its own, in quotes.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace flowtap::lib {

inline constexpr std::array<std::string_view, 2> key_names{"key", "authentication-key"};

/// How a key has to be written, for messages.
std::string key_form(std::string_view name);

/// A key whose value has no quotes.
struct UnquotedKey {
    std::string_view name;
    std::size_t line = 0;  ///< from 1, as columns
    std::size_t column = 0;
};

/// Overwrites the value of every line `key = VALUE`, so that nothing of a key is left in the text. The first
/// value without quotes, since what is left of it may not be TOML.
std::optional<UnquotedKey> mask_keys(std::span<char> text);

/// The digits in the original text of a key whose value the parser saw as `masked` at the line and column.
/// Nothing when it is written in a way that the mask does not understand.
std::optional<std::string_view> unmasked_key(std::string_view text, std::string_view name, std::size_t line,
                                             std::size_t column, std::string_view masked);

}  // namespace flowtap::lib
