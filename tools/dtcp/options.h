// The command line of dtcp.
#pragma once

#include "tools/dtcp/problem.h"
#include "tools/dtcp/request.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>

namespace flowtap::tools::dtcp {

enum class Mode : std::uint8_t {
    request,  ///< one, from the command line
    batch,    ///< a file of them
    session,  ///< standard input, as it comes
};

struct Options {
    Mode mode = Mode::request;
    RequestSpec request;         ///< of Mode::request
    std::filesystem::path file;  ///< of Mode::batch; "-" is standard input
    bool keep_going = false;     ///< of Mode::batch: a failure does not stop it
    std::string csource;
    std::filesystem::path key_file;
    std::filesystem::path state_directory;

    bool udp = false;
    std::uint16_t local_port = 0;  ///< UDP; 0: any
    std::string host;
    std::uint16_t port = 0;
    std::string user;
    std::filesystem::path identity;
    std::filesystem::path passphrase_file;
    std::filesystem::path password_file;
    std::filesystem::path known_hosts;
    bool accept_new = false;
    std::chrono::milliseconds connect_patience{10'000};
    std::chrono::milliseconds answer_patience{30'000};

    std::size_t pipeline = 1;  ///< requests under way at most
    unsigned retries = 0;
    std::chrono::milliseconds retry_delay{1000};  ///< before the first; doubled each time, up to a minute
    bool watch = false;
    std::optional<std::chrono::milliseconds> watch_time;  ///< unset: until a signal

    bool json = false;
    bool print = false;  ///< write the signed requests to standard output instead of sending them
};

/// Prints help and errors itself; then there is an exit code and no options.
std::expected<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace flowtap::tools::dtcp
