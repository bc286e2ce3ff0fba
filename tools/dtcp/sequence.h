// The Seq of the next request of a control source, kept over runs in a file.
#pragma once

#include "tools/dtcp/problem.h"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <string_view>

namespace flowtap::tools::dtcp {

/// $XDG_STATE_HOME/flowtap/dtcp, or ~/.local/state/flowtap/dtcp.
std::filesystem::path default_state_directory();

/// The file of a control source: its name, with everything but letters, digits, "-" and "_" as %XX.
std::filesystem::path sequence_file(const std::filesystem::path& directory, std::string_view csource);

/// Takes the next `count` numbers and returns the first: one more than the last one taken, 1 at first, 0
/// after 2^64 - 1. They are on disk before this returns, so that no number is ever used twice, and several
/// processes may take numbers at once. Numbers that are taken and not used leave a gap; a server takes gaps
/// up to 256.
std::expected<std::uint64_t, Problem> take_sequence_numbers(const std::filesystem::path& directory,
                                                            std::string_view csource,
                                                            std::uint64_t count = 1);

}  // namespace flowtap::tools::dtcp
