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

/// Any bytes as a whole value: unescape(escape(x)) == x. Escaped are control characters, `\`, bytes that are
/// not valid UTF-8, and white space at the ends.
std::string escape(std::string_view bytes);

/// The same for one entry of a list: `,`, `*` and a leading `!` are escaped too.
std::string escape_entry(std::string_view bytes);

/// Escapes only what no line may hold: control characters and bytes that are not valid UTF-8. What is escaped
/// already stays as it is.
std::string escape_line(std::string_view line);

/// Valid by RFC 3629: no overlong form, surrogate or number beyond U+10FFFF.
bool is_utf8(std::string_view bytes);

}  // namespace flowtap::lib::dtcp
