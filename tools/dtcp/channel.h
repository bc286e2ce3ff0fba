// What a conversation runs over: an SSH session's channel or a UDP socket. Nothing here waits; the caller
// polls.
#pragma once

#include "tools/dtcp/problem.h"

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

namespace flowtap::tools::dtcp {

struct Received {
    std::string bytes;   ///< empty: nothing is there now
    bool ended = false;  ///< and nothing will come any more
};

class Channel {
  public:
    Channel() = default;
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    virtual ~Channel() = default;

    /// How many of the bytes were taken; 0: try again once descriptor() is ready. `bytes` is (the rest of)
    /// one message.
    virtual std::expected<std::size_t, Problem> write(std::string_view bytes) = 0;

    /// Until it says that nothing is there, more may be, whatever poll() says of the descriptor.
    virtual std::expected<Received, Problem> read() = 0;

    virtual int descriptor() const = 0;
    /// What to poll() the descriptor for.
    virtual short events(bool more_to_write) const = 0;

    /// Whether it is a stream: answers come in the order of the requests, and whoever sends them is known.
    /// Otherwise each read gives one datagram, from anybody.
    virtual bool is_stream() const = 0;

    /// Why it ended, for the requests that were not answered.
    virtual Problem end_reason() = 0;
};

}  // namespace flowtap::tools::dtcp
