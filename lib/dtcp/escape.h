// \DDD, three decimal digits, stands for one byte of a value and is never a delimiter (dtcp.md section 2). A
// value therefore stays as it came until it has been split at its delimiters; only then are its parts
// unescaped.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace flowtap::lib::dtcp {

/// The bytes that the text stands for; nothing where a backslash is not followed by 000..255.
std::optional<std::string> unescape(std::string_view value);

/// The same test without building the result.
bool escapes_are_valid(std::string_view value);

/// Any bytes as one part of a value: unescape(escape(x)) == x, and no byte of the result is a delimiter.
/// Escaped are control characters, `\`, the delimiters `,` `!` `-` `*`, bytes that are not valid UTF-8, and
/// white space at the ends. `-` is a delimiter in ranges only, so it is left alone unless `ranges` is set.
std::string escape(std::string_view bytes, bool ranges = false);

/// Valid by RFC 3629: no overlong form, surrogate or number beyond U+10FFFF.
bool is_utf8(std::string_view bytes);

}  // namespace flowtap::lib::dtcp
