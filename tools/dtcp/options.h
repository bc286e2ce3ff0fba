// The command line of dtcp.
#pragma once

#include "lib/dtcp/message.h"
#include "lib/dtcp/name.h"
#include "tools/dtcp/problem.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace flowtap::tools::dtcp {

struct NamedValue {
    std::string name;
    std::string value;
};

struct Options {
    lib::dtcp::Method method = lib::dtcp::Method::noop;
    lib::dtcp::Version version = lib::dtcp::version_0_7;
    std::vector<NamedValue> parameters;  ///< in the order of the message
    std::string csource;
    std::filesystem::path key_file;
    std::optional<std::uint64_t> seq;  ///< unset: the next of the state file
    std::filesystem::path state_directory;

    std::string host;
    std::uint16_t port = 32001;
    std::string user;
    std::filesystem::path identity;
    std::filesystem::path passphrase_file;
    std::filesystem::path password_file;
    std::filesystem::path known_hosts;
    bool accept_new = false;
    std::chrono::milliseconds connect_patience{10'000};
    std::chrono::milliseconds answer_patience{30'000};

    bool json = false;
    bool print = false;  ///< write the signed request to standard output instead of sending it
};

/// Prints help and errors itself; then there is an exit code and no options.
std::expected<Options, int> parse_options(int argc, const char* const* argv);

}  // namespace flowtap::tools::dtcp
