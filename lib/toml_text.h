// What may stand in a TOML document here: ASCII, and any UTF-8 in comments.
//
// Names, paths and addresses are ASCII anyhow. That nothing else reaches the parser is also its protection:
// toml++ 3.3.0 has undefined behaviour for some characters outside of strings and comments (U+FE66 to
// U+FEFE).
#pragma once

#include "lib/config.h"

#include <optional>
#include <string_view>

namespace flowtap::lib {

/// The first character that is not allowed, as an error at its place; `name` stands for the file. Allowed are
/// printable ASCII, tab and line ends, a byte order mark at the start, and what is not ASCII in comments.
std::optional<ConfigError> check_toml_text(std::string_view text, std::string_view name);

}  // namespace flowtap::lib
