#include "control/ctl_server.h"

#include "control/peer_credentials.h"

#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <spdlog/spdlog.h>

#include <chrono>
#include <memory>
#include <utility>

namespace flowtap::control {

namespace {

/// A client that neither asks nor reads for so long is let go.
constexpr std::chrono::seconds patience{60};

}  // namespace

CtlServer::CtlServer(asio::io_context& io, lib::FileDescriptor listener, gid_t group,
                     std::function<std::string(std::string_view)> answer)
    : io_{io},
      acceptor_{io, asio::local::stream_protocol{}, listener.get()},
      pause_{io},
      group_{group},
      answer_{std::move(answer)} {
    static_cast<void>(listener.release());
}

asio::awaitable<void> CtlServer::run() {
    while (acceptor_.is_open()) {
        asio::error_code error;
        Socket socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
        if (error) {
            if (error != asio::error::operation_aborted && acceptor_.is_open()) {
                pause_.expires_after(std::chrono::milliseconds{100});
                co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, error));
            }
            continue;
        }
        const auto peer = peer_credentials(socket.native_handle());
        if (!peer || !peer->may_use(group_)) {
            spdlog::warn("security: ctl: account {} is not in group flowtap", peer ? peer->user : "unknown");
            continue;
        }
        if (clients_ < most_clients) {
            asio::co_spawn(io_, serve(std::move(socket)), asio::detached);
        }
    }
}

void CtlServer::stop() {
    asio::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
}

asio::awaitable<void> CtlServer::serve(Socket accepted) {
    // Shared with the timer, which may end the wait of a client that is gone already.
    const auto socket = std::make_shared<Socket>(std::move(accepted));
    asio::steady_timer timer{io_};
    std::string input;
    ++clients_;
    for (;;) {
        asio::error_code error;
        timer.expires_after(patience);
        timer.async_wait([weak = std::weak_ptr{socket}](const asio::error_code& cancelled) {
            if (const auto idle = weak.lock(); idle && !cancelled) {
                asio::error_code ignored;
                idle->close(ignored);
            }
        });
        const std::size_t size =
            co_await asio::async_read_until(*socket, asio::dynamic_buffer(input, longest_line), '\n',
                                            asio::redirect_error(asio::use_awaitable, error));
        if (error) {
            break;
        }
        const std::string answer = answer_(std::string_view{input}.substr(0, size - 1)) + "\n";
        input.erase(0, size);
        co_await asio::async_write(*socket, asio::buffer(answer),
                                   asio::redirect_error(asio::use_awaitable, error));
        if (error) {
            break;
        }
    }
    --clients_;
}

}  // namespace flowtap::control
