// The command line of flowtap-receive.
#pragma once

#include "tools/receive/rotating_files.h"
#include "tools/receive/shim.h"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>

namespace flowtap::tools::receive {

/// 1 would be a sound run that saw gaps or refused packets.
enum class ExitCode : int { ok = 0, gaps_or_refusals = 1, bad_input = 2, missing_privilege = 3 };

struct Options {
    std::filesystem::path sa;
    std::string interface;  ///< empty: read `file`
    std::filesystem::path file;
    std::filesystem::path write;         ///< empty: originals are counted only
    std::optional<std::uint64_t> count;  ///< stop after so many copies
    std::optional<double> idle;          ///< stop after so many seconds without an ESP packet
    std::size_t replay_window = 0;       ///< 0: none
    std::uint64_t highest_sequence = 0;  ///< extended: the highest one that was received before
    ShimRules shims;
    Rotation rotation;                 ///< an empty folder: no rotating files
    std::optional<double> interval;    ///< seconds between lines of statistics
    std::filesystem::path statistics;  ///< where these go; empty: standard output
    bool json = false;
};

/// What to do instead of running: print `text` (help or an error, already on the right stream) and exit.
struct Leave {
    int code = 0;
};

std::expected<Options, Leave> parse_options(int argc, char* argv[]);

}  // namespace flowtap::tools::receive
