// One port of the configuration as a DPDK device: opened, configured, started, and closed with its owner.
//
// Thread safety: the manager's, but for lost(), which any thread may ask.
#pragma once

#include "dataplane/device.h"
#include "dataplane/failure.h"
#include "dataplane/queue_plan.h"
#include "lib/config.h"

#include <rte_ethdev.h>
#include <rte_mempool.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace flowtap::dataplane {

struct LinkState {
    bool up = false;
    std::uint32_t mbps = 0;
};

struct DriverStatistics {
    std::uint64_t missed = 0;     ///< frames lost in the device before a worker saw them
    std::uint64_t no_buffer = 0;  ///< frames lost because the receive pool was empty
    std::uint64_t tx_errors = 0;  ///< frames that the driver took and could not send
};

class Port {
  public:
    /// Opens the device. Failures name file, line and column of the device's text.
    static Result<std::unique_ptr<Port>> open(const lib::Config& config, std::size_t index,
                                              const Device& device);

    Port(const Port&) = delete;
    Port& operator=(const Port&) = delete;
    ~Port();

    std::uint16_t id() const { return id_; }        ///< DPDK's
    std::uint16_t index() const { return index_; }  ///< in the configuration
    const std::string& name() const { return name_; }
    /// The most queues that the device can have.
    QueueCount limits() const { return {info_.max_rx_queues, info_.max_tx_queues}; }
    /// Bytes that a receive buffer must hold: a whole frame, unless the device spreads frames over buffers.
    std::uint32_t data_room() const;

    /// One receive pool for each receive queue. No offload that changes a frame is asked for: no VLAN
    /// stripping, no checksums, no coalescing.
    Result<void> configure(QueueCount queues, std::span<rte_mempool* const> pools);
    /// Promiscuous and receiving.
    Result<void> start();
    /// Nothing moves afterwards; close is the destructor's.
    void stop();

    LinkState link() const;

    /// Finds the way to take its link down, and brings it up by that way; names `purpose` where there is
    /// none.
    Result<void> take_link_control(const std::string& purpose);
    /// set_link() needs CAP_NET_ADMIN.
    bool link_control_needs_net_admin() const;
    /// Takes its link down, so that the far end loses its own, or brings it up again. 0, or an errno. While
    /// it is down, nothing can be sent through it.
    int set_link(bool up);

    DriverStatistics statistics() const;

    /// Looks whether the device is still there (PCI removal by the driver's event, a kernel interface by its
    /// index). True once, when it has just been found lost.
    bool check_lost();
    /// The device has disappeared.
    bool gone() const { return gone_; }
    /// Nothing can be sent through it: its device has disappeared, or its link has been taken down.
    bool lost() const { return lost_.load(std::memory_order_relaxed); }

  private:
    Port(const lib::Config& config, std::size_t index, Device device, std::uint16_t id);
    Failure unusable(const std::string& why) const;
    int change_link(bool up) const;
    bool spreads_frames() const;
    Result<void> set_mtu(rte_eth_conf& conf) const;

    Device device_;
    std::string name_;
    std::string place_;    ///< file:line:column
    std::uint32_t frame_;  ///< largest frame, without FCS
    std::uint32_t descriptors_;
    std::uint16_t id_;
    std::uint16_t index_;
    rte_eth_dev_info info_{};
    bool started_ = false;
    unsigned interface_index_ = 0;
    bool link_by_kernel_ = false;  ///< the way to take the link down: by its interface, not by the driver
    std::atomic<bool> removed_ = false;  ///< the driver said so
    bool gone_ = false;
    std::atomic<bool> lost_ = false;
};

/// Largest frame, without FCS, that the port has to carry.
std::uint32_t largest_frame(const lib::Config& config, std::size_t port);

}  // namespace flowtap::dataplane
