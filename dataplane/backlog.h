// Whether the worker is so far behind a receive queue that frames will soon be lost there.
//
// Through traffic comes before copies: a worker that cannot make as many copies as frames ask for gives up
// copies, which are counted, and not frames, which would be lost before anybody has seen them. As soon as
// the queue is less than half full it copies again.
//
// Not every driver can say how many frames wait (af_packet and pcap cannot, those of network cards can).
// Thread safety: the thread's that receives from the queue.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>

namespace flowtap::dataplane {

class Backlog {
  public:
    /// Frames that wait in the queue; negative if the device cannot say.
    using Waiting = int (*)(std::uint16_t port, std::uint16_t queue);

    /// Of no queue: never behind.
    Backlog() = default;
    /// Of a queue with so many descriptors.
    Backlog(std::uint16_t port, std::uint16_t queue, std::uint32_t descriptors,
            Waiting waiting = rte_eth_rx_queue_count)
        : port_(port), queue_(queue), most_(static_cast<int>(descriptors / 2)), waiting_(waiting) {}

    /// The port is started.
    bool behind() const { return waiting_ != nullptr && waiting_(port_, queue_) > most_; }

  private:
    std::uint16_t port_ = 0;
    std::uint16_t queue_ = 0;
    int most_ = 0;
    Waiting waiting_ = nullptr;
};

}  // namespace flowtap::dataplane
