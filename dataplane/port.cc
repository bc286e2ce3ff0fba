#include "dataplane/port.h"

#include "dataplane/kernel_interface.h"

#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace flowtap::dataplane {
namespace {

constexpr std::uint32_t usual_data_room = 2048;

/// DPDK's calls return 0 or a negative errno.
std::string reason(int result) {
    return rte_strerror(-result);
}

int note_removal(std::uint16_t, rte_eth_event_type, void* flag, void*) {
    static_cast<std::atomic<bool>*>(flag)->store(true, std::memory_order_relaxed);
    return 0;
}

}  // namespace

std::uint32_t largest_frame(const lib::Config& config, std::size_t port) {
    return port == config.delivery.port ? config.delivery.mtu + RTE_ETHER_HDR_LEN : config.dataplane.mtu;
}

Port::Port(const lib::Config& config, std::size_t index, Device device, std::uint16_t id)
    : device_(std::move(device)),
      name_(config.ports[index].name),
      place_(fmt::format("{}:{}:{}", config.file.string(), config.ports[index].line,
                         config.ports[index].column)),
      frame_(largest_frame(config, index)),
      descriptors_(config.dataplane.queue_size),
      id_(id),
      index_(static_cast<std::uint16_t>(index)) {}

Failure Port::unusable(const std::string& why) const {
    return {ExitCode::configuration,
            fmt::format("{}: port \"{}\", device \"{}\": {}", place_, name_, device_.text(), why)};
}

Result<std::unique_ptr<Port>> Port::open(const lib::Config& config, std::size_t index, const Device& device) {
    std::unique_ptr<Port> port{new Port(config, index, device, RTE_MAX_ETHPORTS)};
    if (!device.interface.empty()) {
        port->interface_index_ = interface_index(device.interface);
        if (port->interface_index_ == 0) {
            return std::unexpected(port->unusable(fmt::format(
                "there is no network interface \"{}\"; `ip link` shows those that are", device.interface)));
        }
    }
    if (!device.pci) {
        if (const int result = rte_dev_probe(device.text().c_str()); result != 0) {
            return std::unexpected(port->unusable(
                fmt::format("DPDK cannot open it: {}; its own message stands above", reason(result))));
        }
    }
    if (rte_eth_dev_get_port_by_name(device.name.c_str(), &port->id_) != 0) {
        port->id_ = RTE_MAX_ETHPORTS;
        return std::unexpected(port->unusable(
            device.pci
                ? "no DPDK driver took it; expected a network device bound to vfio-pci (dpdk-devbind.py "
                  "--status shows them)"
                : "it is no Ethernet device"));
    }
    if (const int result = rte_eth_dev_info_get(port->id_, &port->info_); result != 0) {
        return std::unexpected(port->unusable("the driver tells nothing about it: " + reason(result)));
    }
    rte_eth_dev_callback_register(port->id_, RTE_ETH_EVENT_INTR_RMV, note_removal, &port->removed_);
    return port;
}

Port::~Port() {
    if (id_ == RTE_MAX_ETHPORTS) {
        return;
    }
    stop();
    rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_RMV, note_removal, &removed_);
    rte_eth_dev_close(id_);
}

bool Port::spreads_frames() const {
    // Two drivers do it without saying so.
    return (info_.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) != 0 || device_.driver == "net_pcap" ||
           device_.driver == "net_memif";
}

std::uint32_t Port::data_room() const {
    const std::uint32_t whole = std::max({frame_, ring_slot(device_), info_.min_rx_bufsize});
    return spreads_frames() ? usual_data_room : std::max(whole, usual_data_room);
}

Result<void> Port::set_mtu(rte_eth_conf& conf) const {
    const std::uint32_t mtu = frame_ - RTE_ETHER_HDR_LEN;
    if (!device_.interface.empty()) {
        // Here the kernel's MTU rules, and the driver knows nothing of it.
        if (!raise_interface_mtu(device_.interface, mtu)) {
            return std::unexpected(
                unusable(fmt::format("MTU {} for frames of {} bytes: {}; expected an interface that "
                                     "can have it",
                                     mtu, frame_, std::strerror(errno))));
        }
        conf.rxmode.mtu = std::min({mtu, std::uint32_t{info_.max_mtu}, std::uint32_t{RTE_ETHER_MTU}});
        return {};
    }
    if (mtu > info_.max_mtu) {
        return std::unexpected(
            unusable(fmt::format("frames of {} bytes were asked for, and the device can do {}", frame_,
                                 info_.max_mtu + RTE_ETHER_HDR_LEN)));
    }
    conf.rxmode.mtu = std::max(mtu, std::uint32_t{info_.min_mtu});
    return {};
}

Result<void> Port::configure(QueueCount queues, std::span<rte_mempool* const> pools) {
    rte_eth_conf conf{};
    if (auto set = set_mtu(conf); !set) {
        return set;
    }
    if (queues.rx > 1 && info_.flow_type_rss_offloads != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf =
            info_.flow_type_rss_offloads &
            (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP);
    }
    const bool split = frame_ > data_room();
    if (split) {
        conf.rxmode.offloads = info_.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
    }
    // Never MBUF_FAST_FREE, which lets a driver free what it has sent without a look at the reference count:
    // a matched frame is held by that beyond its sending.
    conf.txmode.offloads = split ? info_.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0;
    conf.intr_conf.rmv = (*info_.dev_flags & RTE_ETH_DEV_INTR_RMV) != 0 ? 1U : 0U;

    if (const int result = rte_eth_dev_configure(id_, queues.rx, queues.tx, &conf); result != 0) {
        return std::unexpected(
            unusable(fmt::format("{} receive and {} transmit queues for frames of {} bytes: {}", queues.rx,
                                 queues.tx, frame_, reason(result))));
    }
    auto receive = static_cast<std::uint16_t>(descriptors_);
    auto transmit = receive;
    if (const int result = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &receive, &transmit); result != 0) {
        return std::unexpected(
            unusable(fmt::format("queues of {} descriptors: {}", descriptors_, reason(result))));
    }
    const unsigned node = static_cast<unsigned>(rte_eth_dev_socket_id(id_));
    for (std::uint16_t queue = 0; queue < queues.rx; ++queue) {
        rte_eth_rxconf rx = info_.default_rxconf;
        rx.offloads = conf.rxmode.offloads;
        if (const int result = rte_eth_rx_queue_setup(id_, queue, receive, node, &rx, pools[queue]);
            result != 0) {
            return std::unexpected(unusable(fmt::format("receive queue {}: {}", queue, reason(result))));
        }
    }
    for (std::uint16_t queue = 0; queue < queues.tx; ++queue) {
        rte_eth_txconf tx = info_.default_txconf;
        tx.offloads = conf.txmode.offloads;
        if (const int result = rte_eth_tx_queue_setup(id_, queue, transmit, node, &tx); result != 0) {
            return std::unexpected(unusable(fmt::format("transmit queue {}: {}", queue, reason(result))));
        }
    }
    return {};
}

Result<void> Port::start() {
    if (const int result = rte_eth_dev_start(id_); result != 0) {
        return std::unexpected(unusable("it does not start: " + reason(result)));
    }
    started_ = true;
    // A file or a ring has no addresses to filter by: not supported is as good as done.
    for (const auto& [what, enable] : {std::pair{"promiscuous mode", &rte_eth_promiscuous_enable},
                                       std::pair{"all-multicast mode", &rte_eth_allmulticast_enable}}) {
        if (const int result = enable(id_); result != 0 && result != -ENOTSUP) {
            return std::unexpected(unusable(fmt::format("{}: {}", what, reason(result))));
        }
    }
    return {};
}

void Port::stop() {
    if (started_) {
        rte_eth_dev_stop(id_);
        started_ = false;
    }
}

LinkState Port::link() const {
    rte_eth_link link{};
    if (gone() || rte_eth_link_get_nowait(id_, &link) != 0) {
        return {};
    }
    const bool known = link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN;
    // Drivers that stand on a kernel interface say that its link is up, whatever it is.
    const bool up = device_.interface.empty() ? link.link_status == RTE_ETH_LINK_UP
                                              : interface_has_link(device_.interface);
    return {up, known ? link.link_speed : 0};
}

/// 0, or an errno.
int Port::change_link(bool up) const {
    if (link_by_kernel_) {
        return set_interface_up(device_.interface, up) ? 0 : errno;
    }
    return -(up ? rte_eth_dev_set_link_up(id_) : rte_eth_dev_set_link_down(id_));
}

Result<void> Port::take_link_control(const std::string& purpose) {
    int error = change_link(true);
    if (error == ENOTSUP && !device_.interface.empty()) {
        link_by_kernel_ = true;
        error = change_link(true);
    }
    if (error == 0) {
        return {};
    }
    return std::unexpected(
        unusable(fmt::format("its link cannot be taken down and brought up, as {} asks: {}; expected a "
                             "device whose driver can, or "
                             "one that stands on a network interface",
                             purpose, std::strerror(error))));
}

bool Port::link_control_needs_net_admin() const {
    // mlx drivers and net_tap ask the kernel to do it.
    return link_by_kernel_ || device_.driver == "net_tap" ||
           std::string_view(info_.driver_name).starts_with("mlx");
}

int Port::set_link(bool up) {
    if (!up) {
        lost_.store(true, std::memory_order_relaxed);  // so that nothing is queued for the time after
    }
    const int error = change_link(up);
    lost_.store(gone_ || (error == 0) != up, std::memory_order_relaxed);
    return error;
}

DriverStatistics Port::statistics() const {
    rte_eth_stats stats{};
    if (rte_eth_stats_get(id_, &stats) != 0) {
        return {};
    }
    return {stats.imissed, stats.rx_nombuf, stats.oerrors};
}

bool Port::check_lost() {
    if (gone_) {
        return false;
    }
    const bool gone = removed_.load(std::memory_order_relaxed) ||
                      (interface_index_ != 0 && interface_index(device_.interface) != interface_index_);
    if (gone) {
        gone_ = true;
        lost_.store(true, std::memory_order_relaxed);
    }
    return gone;
}

}  // namespace flowtap::dataplane
