#include "control/udp_server.h"

#include "control/udp_socket.h"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace flowtap::control {

namespace {

using Descriptor = asio::posix::stream_descriptor;

/// Datagrams of one socket before others have their turn.
constexpr int most_at_once = 64;

}  // namespace

struct UdpServer::Listener {
    Listener(asio::io_context& io, lib::FileDescriptor descriptor, std::size_t number)
        : socket{io, descriptor.release()},
          sender{socket},
          input_wanted{io, asio::steady_timer::time_point::max()},
          index{number} {}

    Descriptor socket;
    UdpSender sender;
    asio::steady_timer input_wanted;  ///< never ends; it is cancelled
    std::size_t index;
};

UdpServer::UdpServer(asio::io_context& io, std::vector<lib::FileDescriptor> sockets, DatagramService& service,
                     SequenceStore& store, ServiceCounters& counters, std::function<void()> input)
    : io_{io}, service_{service}, store_{store}, counters_{counters}, input_{std::move(input)} {
    for (auto& socket : sockets) {
        listeners_.push_back(std::make_shared<Listener>(io, std::move(socket), listeners_.size()));
    }
}

UdpServer::~UdpServer() {
    thread_.join();
}

void UdpServer::start() {
    for (const auto& listener : listeners_) {
        asio::co_spawn(io_, read(listener), asio::detached);
    }
}

void UdpServer::stop() {
    stopped_ = true;
    asio::error_code ignored;
    for (const auto& listener : listeners_) {
        listener->socket.close(ignored);
        listener->input_wanted.cancel();
    }
}

asio::awaitable<void> UdpServer::read(std::shared_ptr<Listener> listener) {
    while (!stopped_) {
        asio::error_code error;
        if (!service_.wants_input() || listener->sender.full()) {
            // At most this late, should nobody wake it.
            listener->input_wanted.expires_after(std::chrono::milliseconds{100});
            co_await listener->input_wanted.async_wait(asio::redirect_error(asio::use_awaitable, error));
            continue;
        }
        co_await listener->socket.async_wait(Descriptor::wait_read,
                                             asio::redirect_error(asio::use_awaitable, error));
        if (stopped_) {
            break;
        }
        for (int count = 0; count < most_at_once && service_.wants_input(); ++count) {
            Datagram datagram;
            const auto result = receive_datagram(listener->socket.native_handle(), datagram);
            if (result == UdpResult::wait) {
                break;
            }
            if (result == UdpResult::done) {
                datagram.socket = listener->index;
                service_.receive(std::move(datagram), Now::read());
            }
        }
        commit();
        input_();
    }
}

void UdpServer::commit() {
    if (stopped_ || !service_.commit_wanted()) {
        return;
    }
    asio::post(thread_, [this, changes = service_.take_changes(), descriptor = store_.descriptor()] {
        asio::post(io_, [this, written = SequenceStore::write_changes(descriptor, changes)] {
            if (!written && !failing_) {
                spdlog::error("dtcp: UDP messages are dropped: {}", written.error());
            }
            failing_ = !written;
            service_.committed(written.has_value(), Now::read());
            commit();
            input_();
        });
    });
}

void UdpServer::pump(const std::set<SessionId>& touched) {
    service_.pump(touched, Now::read());
    for (auto& answer : service_.take_answers()) {
        auto& sender = listeners_.at(answer.socket)->sender;
        sender.send(std::move(answer));
    }
    for (const auto& listener : listeners_) {
        counters_.add(ServiceCounter::datagrams_not_sent, listener->sender.take_sent().dropped);
    }
    wake();
}

void UdpServer::wake() {
    if (service_.wants_input()) {
        for (const auto& listener : listeners_) {
            listener->input_wanted.cancel();
        }
    }
}

struct NotificationSender::Way {
    Way(asio::io_context& io, lib::FileDescriptor descriptor)
        : socket{io, descriptor.release()}, sender{socket} {}

    Descriptor socket;
    UdpSender sender;
};

NotificationSender::NotificationSender(asio::io_context& io, std::array<lib::FileDescriptor, 2> sockets,
                                       Notifier& notifier, ServiceCounters& counters)
    : notifier_{notifier}, counters_{counters} {
    for (std::size_t i = 0; i < sockets.size(); ++i) {
        if (sockets[i]) {
            ways_[i] = std::make_unique<Way>(io, std::move(sockets[i]));
        }
    }
}

NotificationSender::~NotificationSender() = default;

void NotificationSender::pump() {
    const auto full = [](const std::unique_ptr<Way>& way) { return way && way->sender.full(); };
    Notifier::ToPeer next;
    while (std::ranges::none_of(ways_, full) && notifier_.take(next)) {
        auto& way = ways_[next.peer.address.family == lib::Family::ipv4 ? 0 : 1];
        if (!way) {
            counters_.add(ServiceCounter::notifications_dropped);
            continue;
        }
        Datagram datagram;
        datagram.bytes = std::move(next.text);
        datagram.peer = next.peer;
        datagram.local = {next.peer.address.family, {}};
        way->sender.send(std::move(datagram));
    }
    for (const auto& way : ways_) {
        if (way) {
            const auto sent = way->sender.take_sent();
            counters_.add(ServiceCounter::notifications_sent, sent.done);
            counters_.add(ServiceCounter::notifications_dropped, sent.dropped);
        }
    }
}

void NotificationSender::stop() {
    asio::error_code ignored;
    for (const auto& way : ways_) {
        if (way) {
            way->socket.close(ignored);
        }
    }
}

}  // namespace flowtap::control
