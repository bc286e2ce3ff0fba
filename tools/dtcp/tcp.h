// A TCP connection to a host by name or address.
#pragma once

#include "lib/file_descriptor.h"
#include "tools/dtcp/problem.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>

namespace flowtap::tools::dtcp {

/// Tries the host's addresses one after the other, each for at most `patience`. The socket is blocking.
std::expected<lib::FileDescriptor, Problem> connect_tcp(const std::string& host, std::uint16_t port,
                                                        std::chrono::milliseconds patience);

}  // namespace flowtap::tools::dtcp
