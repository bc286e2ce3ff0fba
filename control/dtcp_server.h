// The thin transport under the DTCP service: dtcp.sock. Bytes in, bytes out; who is there; nothing else.
//
// Thread: the event loop's.
#pragma once

#include "control/service.h"
#include "lib/file_descriptor.h"

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sys/types.h>

namespace flowtap::control {

class DtcpServer {
  public:
    /// Junos's highest connection-limit, and room for the box's own clients.
    static constexpr std::size_t most_sessions = 512;

    /// `listener`: a listening unix socket. Peers must be root or in `group`. `input` is called after the
    /// service was given bytes.
    DtcpServer(asio::io_context& io, lib::FileDescriptor listener, gid_t group, Service& service,
               std::function<void()> input);

    /// Accepts until stop(). Call once.
    asio::awaitable<void> run();
    void stop();

    /// Wakes those of the sessions that the service has touched.
    void pump(const std::set<SessionId>& touched);

  private:
    struct Connection;

    asio::awaitable<void> read(std::shared_ptr<Connection> connection);
    asio::awaitable<void> write(std::shared_ptr<Connection> connection);
    void close(Connection& connection);
    bool admit(int socket, Peer& peer) const;

    asio::io_context& io_;
    asio::local::stream_protocol::acceptor acceptor_;
    asio::steady_timer pause_;
    gid_t group_;
    Service& service_;
    std::function<void()> input_;
    std::map<SessionId, std::shared_ptr<Connection>> connections_;
};

}  // namespace flowtap::control
