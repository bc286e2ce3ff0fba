// The thin transport under the command line: ctl.sock, one JSON object a line each way. Thread: the event
// loop's.
#pragma once

#include "lib/file_descriptor.h"

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <sys/types.h>

namespace flowtap::control {

class CtlServer {
  public:
    static constexpr std::size_t most_clients = 32;
    static constexpr std::size_t longest_line = 4096;

    /// `answer`: one line's answer, without line end. Peers must be root or in `group`.
    CtlServer(asio::io_context& io, lib::FileDescriptor listener, gid_t group,
              std::function<std::string(std::string_view)> answer);

    asio::awaitable<void> run();
    void stop();

  private:
    using Socket = asio::local::stream_protocol::socket;

    asio::awaitable<void> serve(Socket socket);

    asio::io_context& io_;
    asio::local::stream_protocol::acceptor acceptor_;
    asio::steady_timer pause_;
    gid_t group_;
    std::function<std::string(std::string_view)> answer_;
    std::size_t clients_ = 0;
};

}  // namespace flowtap::control
