// The thin transports under DTCP in datagrams: the sockets that requests come to, and those that
// notifications leave by. A thread of its own brings sequence numbers to the medium: one write for all that
// came meanwhile.
//
// Thread: the event loop's.
#pragma once

#include "control/datagram_service.h"
#include "control/notifier.h"
#include "control/udp_sender.h"
#include "lib/file_descriptor.h"

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>

#include <array>
#include <functional>
#include <memory>
#include <set>
#include <vector>

namespace flowtap::control {

class UdpServer {
  public:
    /// `input` is called after the service was given messages. All but the sockets must outlive this.
    UdpServer(asio::io_context& io, std::vector<lib::FileDescriptor> sockets, DatagramService& service,
              SequenceStore& store, ServiceCounters& counters, std::function<void()> input);
    ~UdpServer();
    UdpServer(const UdpServer&) = delete;
    UdpServer& operator=(const UdpServer&) = delete;

    /// Serves until stop(). Call once.
    void start();
    void stop();

    /// Sends the answers of the sessions that were touched.
    void pump(const std::set<SessionId>& touched);

  private:
    struct Listener;

    asio::awaitable<void> read(std::shared_ptr<Listener> listener);
    void commit();
    void wake();

    asio::io_context& io_;
    DatagramService& service_;
    SequenceStore& store_;
    ServiceCounters& counters_;
    std::function<void()> input_;
    std::vector<std::shared_ptr<Listener>> listeners_;
    bool stopped_ = false;
    bool failing_ = false;  ///< the medium: said once
    asio::thread_pool thread_{1};
};

/// Notifications to UDP peers.
class NotificationSender {
  public:
    /// `sockets`: IPv4 and IPv6; one that is missing sends nothing.
    NotificationSender(asio::io_context& io, std::array<lib::FileDescriptor, 2> sockets, Notifier& notifier,
                       ServiceCounters& counters);
    ~NotificationSender();

    void pump();
    void stop();

  private:
    struct Way;

    Notifier& notifier_;
    ServiceCounters& counters_;
    std::array<std::unique_ptr<Way>, 2> ways_;
};

}  // namespace flowtap::control
