// What the kernel knows of the neighbours on one interface: all of it at first, then every change. Reading
// needs no privilege.
//
// Thread safety: one thread at a time.
#pragma once

#include "dataplane/failure.h"
#include "dataplane/slow_path/neighbour_message.h"
#include "dataplane/slow_path/netlink.h"

#include <cstddef>
#include <functional>
#include <vector>

namespace flowtap::dataplane::slow_path {

class NeighbourWatch {
  public:
    /// Who is told. `begin`: all that is known follows; `end`: that was all.
    struct Listener {
        std::function<void()> begin;
        std::function<void(const Neighbour&)> learn;
        std::function<void()> end;
    };

    static Result<NeighbourWatch> open(unsigned interface);

    int fd() const { return socket_.fd(); }
    /// Tells what has arrived, a bounded part of it. Never waits.
    void read(const Listener& listener);

  private:
    NeighbourWatch(NetlinkSocket socket, unsigned interface)
        : socket_(std::move(socket)),
          interface_(interface),
          buffer_(static_cast<std::size_t>(MNL_SOCKET_BUFFER_SIZE)) {}
    void ask(const Listener& listener);

    NetlinkSocket socket_;
    unsigned interface_;
    bool asked_ = false;   ///< for all that is known
    bool asking_ = false;  ///< its answer is not complete
    std::vector<std::byte> buffer_;
};

}  // namespace flowtap::dataplane::slow_path
