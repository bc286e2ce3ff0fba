// The thin transport under the DTCP service: dtcp.sock. Bytes in, bytes out; who is there, and from where
// (preface.h); nothing else. A connection becomes a session of the service when its first bytes are here.
//
// Thread: the event loop's.
#pragma once

#include "control/service.h"
#include "lib/file_descriptor.h"

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/steady_timer.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <sys/types.h>

namespace flowtap::control {

class DtcpServer {
  public:
    /// Junos's highest connection-limit, and room for the box's own clients.
    static constexpr std::size_t most_sessions = 512;

    /// `listener`: a listening unix socket. Peers must be root or in `group`. A connection that has neither
    /// sent nor taken a byte for `idle_limit` is closed; 0: never. `input` is called after the service was
    /// given bytes.
    DtcpServer(asio::io_context& io, lib::FileDescriptor listener, gid_t group,
               std::chrono::seconds idle_limit, Service& service, std::function<void()> input);

    /// Accepts until stop(). Call once.
    asio::awaitable<void> run();
    /// Closes idle sessions until stop(). Call once.
    asio::awaitable<void> watch();
    void stop();

    /// Wakes those of the sessions that the service has touched.
    void pump(const std::set<SessionId>& touched);

  private:
    struct Connection;
    using Clock = std::chrono::steady_clock;

    /// Before the session: nothing was sent, and this is how it starts.
    asio::awaitable<void> begin(std::shared_ptr<Connection> connection);
    /// False: refused.
    bool open_session(const std::shared_ptr<Connection>& connection, std::string_view first);
    asio::awaitable<void> read(std::shared_ptr<Connection> connection);
    asio::awaitable<void> write(std::shared_ptr<Connection> connection);
    void close(Connection& connection);
    bool admit(int socket, Peer& peer) const;
    void close_idle(Clock::time_point now);

    asio::io_context& io_;
    asio::local::stream_protocol::acceptor acceptor_;
    asio::steady_timer pause_;
    asio::steady_timer watch_;
    gid_t group_;
    std::chrono::seconds idle_limit_;
    Service& service_;
    std::function<void()> input_;
    std::set<std::shared_ptr<Connection>> silent_;  ///< accepted, without a session yet
    std::map<SessionId, std::shared_ptr<Connection>> connections_;
};

}  // namespace flowtap::control
