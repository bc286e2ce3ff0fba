// Lines of a DTCP message, requests and responses alike (dtcp.md section 2). Internal to the codec.
#pragma once

#include "lib/dtcp/message.h"

#include <optional>
#include <string_view>

namespace flowtap::lib::dtcp {

struct Line {
    std::string_view text;  ///< without the line end and the white space before it
    bool ended = false;     ///< there was a line end
};

/// Removes the first line from `rest`. LF ends a line, with or without CR before it.
Line take_line(std::string_view& rest);

/// UTF-8 without control characters other than tabs.
bool is_text(std::string_view line);

/// "Name *WSP : *WSP value"; nothing where the line is not of that form. The name is letters, digits, `-`,
/// `_`, `.`.
std::optional<Parameter> split_parameter(std::string_view line);

/// "DTCP/x.y"; numbers beyond 65535 count as 65535. Nothing where it is not of that form.
std::optional<Version> parse_version(std::string_view text);

/// The part up to the first white space; `rest` becomes what follows the white space.
std::string_view take_word(std::string_view& rest);

}  // namespace flowtap::lib::dtcp
