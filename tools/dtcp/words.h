// A line of a batch file or a session, taken apart as a shell would.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::tools::dtcp {

/// Words between blanks. 'x y' and "x y" are one word, in the latter \" and \\ stand for " and \; a backslash
/// outside of quotes makes the next character an ordinary one; # at the start of a word begins a comment.
/// Nothing is expanded. Errors: a quote without its end, a backslash at the end of the line.
std::expected<std::vector<std::string>, std::string> split_words(std::string_view line);

}  // namespace flowtap::tools::dtcp
