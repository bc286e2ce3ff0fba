#include "control/dtcp_server.h"

#include "control/clock.h"
#include "control/peer_credentials.h"
#include "control/preface.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace flowtap::control {

namespace {

using Socket = asio::local::stream_protocol::socket;

/// How a coroutine waits until somebody wakes it: the timer never ends, it is cancelled.
class Wake {
  public:
    explicit Wake(asio::io_context& io) : timer_{io, asio::steady_timer::time_point::max()} {}

    asio::awaitable<void> wait() {
        asio::error_code ignored;
        co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    void wake() { timer_.cancel(); }

  private:
    asio::steady_timer timer_;
};

}  // namespace

struct DtcpServer::Connection {
    Connection(asio::io_context& io, Socket accepted, Peer from)
        : socket{std::move(accepted)}, peer{std::move(from)}, input_wanted{io}, output_there{io} {}

    Socket socket;
    Peer peer;       ///< until the session has it
    SessionId id{};  ///< once there is a session
    Wake input_wanted;
    Wake output_there;
    Clock::time_point active = Clock::now();  ///< a byte last went either way
    bool closed = false;
};

DtcpServer::DtcpServer(asio::io_context& io, lib::FileDescriptor listener, gid_t group,
                       std::chrono::seconds idle_limit, Service& service, std::function<void()> input)
    : io_{io},
      acceptor_{io, asio::local::stream_protocol{}, listener.get()},
      pause_{io},
      watch_{io},
      group_{group},
      idle_limit_{idle_limit},
      service_{service},
      input_{std::move(input)} {
    static_cast<void>(listener.release());
}

bool DtcpServer::admit(int socket, Peer& peer) const {
    const auto credentials = peer_credentials(socket);
    if (!credentials) {
        spdlog::error("dtcp: a connection was refused: {}", credentials.error());
        return false;
    }
    if (!credentials->may_use(group_)) {
        spdlog::warn("security: dtcp: account {} is not in group flowtap-operation", credentials->user);
        return false;
    }
    if (const auto open = connections_.size() + silent_.size(); open >= most_sessions) {
        spdlog::warn("dtcp: a connection was refused: {} sessions are open", open);
        return false;
    }
    peer.user = credentials->user;
    return true;
}

asio::awaitable<void> DtcpServer::run() {
    while (acceptor_.is_open()) {
        asio::error_code error;
        Socket socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
        if (error) {
            if (error != asio::error::operation_aborted && acceptor_.is_open()) {
                // Out of descriptors, mostly: the next one may find some.
                spdlog::error("dtcp: cannot accept: {}", error.message());
                pause_.expires_after(std::chrono::milliseconds{100});
                co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, error));
            }
            continue;
        }
        Peer peer;
        if (!admit(socket.native_handle(), peer)) {
            continue;
        }
        socket.native_non_blocking(true, error);
        auto connection = std::make_shared<Connection>(io_, std::move(socket), std::move(peer));
        silent_.insert(connection);
        asio::co_spawn(io_, begin(std::move(connection)), asio::detached);
    }
}

asio::awaitable<void> DtcpServer::begin(std::shared_ptr<Connection> connection) {
    // More than a preface may come at once, when the client's first request is right behind it.
    std::array<char, 4096> buffer;
    std::size_t filled = 0;
    while (!connection->closed) {
        asio::error_code error;
        co_await connection->socket.async_wait(Socket::wait_read,
                                               asio::redirect_error(asio::use_awaitable, error));
        if (connection->closed) {
            break;
        }
        const ssize_t count =
            ::recv(connection->socket.native_handle(), buffer.data() + filled, buffer.size() - filled, 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (count <= 0) {
            close(*connection);
            break;
        }
        filled += static_cast<std::size_t>(count);
        const std::string_view first{buffer.data(), filled};
        if (read_preface(first).state == Preface::incomplete) {
            continue;  // at most longest_preface bytes, so there is room
        }
        if (open_session(connection, first)) {
            asio::co_spawn(io_, read(connection), asio::detached);
            asio::co_spawn(io_, write(connection), asio::detached);
            input_();
        }
        break;
    }
}

bool DtcpServer::open_session(const std::shared_ptr<Connection>& connection, std::string_view first) {
    const auto preface = read_preface(first);
    if (preface.state == Preface::malformed) {
        spdlog::warn("security: dtcp: account {} opens with what is no preface of flowtap-dtcp",
                     connection->peer.user);
        close(*connection);
        return false;
    }
    if (preface.address) {
        connection->peer.address = *preface.address;
    }
    first.remove_prefix(preface.size);
    connection->id = service_.open(std::move(connection->peer));
    connection->active = Clock::now();
    connections_.emplace(connection->id, connection);
    silent_.erase(connection);
    if (!first.empty()) {
        service_.receive(connection->id, first, Now::read());
    }
    return true;
}

asio::awaitable<void> DtcpServer::watch() {
    while (acceptor_.is_open()) {
        asio::error_code ignored;
        watch_.expires_after(std::chrono::seconds{1});
        co_await watch_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        if (acceptor_.is_open()) {
            close_idle(Clock::now());
        }
    }
}

void DtcpServer::close_idle(Clock::time_point now) {
    if (idle_limit_.count() == 0) {
        return;
    }
    std::vector<std::shared_ptr<Connection>> idle;
    const auto is_idle = [&](const auto& connection) { return now - connection->active >= idle_limit_; };
    std::ranges::copy_if(silent_, std::back_inserter(idle), is_idle);
    for (const auto& [id, connection] : connections_) {
        // One that does not take its output is the service's to drop.
        if (is_idle(connection) && service_.output(id).empty()) {
            idle.push_back(connection);
        }
    }
    for (const auto& connection : idle) {
        spdlog::info("dtcp: a session was closed: no byte came or went for {} s", idle_limit_.count());
        close(*connection);
    }
}

void DtcpServer::stop() {
    asio::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    watch_.cancel();
    while (!silent_.empty()) {
        const auto connection = *silent_.begin();
        close(*connection);
    }
    while (!connections_.empty()) {
        const auto connection = connections_.begin()->second;
        close(*connection);
    }
}

void DtcpServer::close(Connection& connection) {
    if (std::exchange(connection.closed, true)) {
        return;
    }
    asio::error_code ignored;
    connection.socket.close(ignored);
    connection.input_wanted.wake();
    connection.output_there.wake();
    if (const auto found = connections_.find(connection.id);
        found != connections_.end() && found->second.get() == &connection) {
        service_.close(connection.id);
        connections_.erase(found);
    } else {
        std::erase_if(silent_, [&](const auto& silent) { return silent.get() == &connection; });
    }
}

void DtcpServer::pump(const std::set<SessionId>& touched) {
    for (const auto id : touched) {
        const auto found = connections_.find(id);
        if (found == connections_.end()) {
            continue;
        }
        const auto connection = found->second;
        if (service_.finished(id)) {
            close(*connection);  // its writer may be waiting for a client that does not read
        } else {
            connection->input_wanted.wake();
            connection->output_there.wake();
        }
    }
}

asio::awaitable<void> DtcpServer::read(std::shared_ptr<Connection> connection) {
    std::array<char, 16'384> buffer;  // some thirty requests: then it is another session's turn
    bool ended = false;
    while (!connection->closed) {
        if (ended || !service_.wants_input(connection->id)) {
            co_await connection->input_wanted.wait();
            continue;
        }
        asio::error_code error;
        co_await connection->socket.async_wait(Socket::wait_read,
                                               asio::redirect_error(asio::use_awaitable, error));
        if (connection->closed) {
            break;
        }
        const ssize_t count = ::recv(connection->socket.native_handle(), buffer.data(), buffer.size(), 0);
        if (count > 0) {
            connection->active = Clock::now();
            service_.receive(connection->id, {buffer.data(), static_cast<std::size_t>(count)}, Now::read());
        } else if (count == 0) {
            ended = true;
            service_.end_input(connection->id, Now::read());
        } else if (errno != EAGAIN && errno != EINTR) {
            close(*connection);
            break;
        }
        input_();
    }
}

asio::awaitable<void> DtcpServer::write(std::shared_ptr<Connection> connection) {
    while (!connection->closed) {
        if (service_.finished(connection->id)) {
            close(*connection);
            break;
        }
        // The view is used before anything else can touch the session.
        auto output = service_.output(connection->id);
        if (output.empty()) {
            co_await connection->output_there.wait();
            continue;
        }
        const ssize_t count = ::send(connection->socket.native_handle(), output.data(), output.size(),
                                     MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count >= 0) {
            connection->active = Clock::now();
            service_.sent(connection->id, static_cast<std::size_t>(count), Now::read());
            input_();
        } else if (errno == EAGAIN) {
            asio::error_code error;
            co_await connection->socket.async_wait(Socket::wait_write,
                                                   asio::redirect_error(asio::use_awaitable, error));
        } else if (errno != EINTR) {
            close(*connection);
        }
    }
}

}  // namespace flowtap::control
