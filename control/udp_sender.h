// Datagrams that wait until their socket takes them: bounded, and dropped rather than kept. Thread: the event
// loop's.
#pragma once

#include "control/datagram.h"

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>

namespace flowtap::control {

class UdpSender {
  public:
    /// Bytes that wait at most.
    static constexpr std::size_t most_waiting = std::size_t{8} << 20;

    struct Sent {
        std::uint64_t done = 0;
        std::uint64_t dropped = 0;  ///< no room to wait, or refused by the network
    };

    /// `socket` must outlive this; it stays the caller's.
    explicit UdpSender(asio::posix::stream_descriptor& socket) : socket_{socket} {}

    /// Now, or when there is room.
    void send(Datagram datagram);
    bool full() const { return bytes_ >= most_waiting; }
    /// Since the last time.
    Sent take_sent() { return std::exchange(sent_, {}); }

  private:
    void flush();

    asio::posix::stream_descriptor& socket_;
    std::deque<Datagram> waiting_;
    std::size_t bytes_ = 0;
    bool flushing_ = false;  ///< a wait is on its way
    Sent sent_{};
};

}  // namespace flowtap::control
