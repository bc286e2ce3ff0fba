#include "dataplane/slow_path/slow_path_setup.h"

#include "dataplane/slow_path/kernel_setup.h"

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_ether.h>

#include <algorithm>

namespace flowtap::dataplane::slow_path {
namespace {

/// An engine for each of them: it belongs to what it seals or opens with.
template <typename Worker>
Result<Worker> create() {
    auto engine = crypto::Engine::create();
    if (!engine) {
        return std::unexpected(Failure{ExitCode::failure, "IPsec-MB: " + engine.error()});
    }
    auto worker = Worker::create(std::move(*engine));
    if (!worker) {
        return std::unexpected(Failure{ExitCode::failure, "sealing and opening: " + worker.error()});
    }
    return std::move(*worker);
}

}  // namespace

Result<std::unique_ptr<SlowPath>> create_slow_path(const SlowPath::Parts& parts, const std::string& shared) {
    rte_ether_addr own{};
    if (rte_eth_macaddr_get(parts.port.id(), &own) != 0) {
        return std::unexpected(
            Failure{ExitCode::failure, fmt::format("port \"{}\": it has no MAC address", parts.port.name())});
    }
    lib::MacAddress mac{};
    std::copy_n(own.addr_bytes, mac.size(), mac.begin());

    auto tap = TapDevice::create(parts.config.delivery.interface);
    if (!tap) {
        return std::unexpected(tap.error());
    }
    // Before the set-up, so that no change is missed.
    auto neighbours = NeighbourWatch::open(tap->index());
    if (!neighbours) {
        return std::unexpected(neighbours.error());
    }
    if (auto done = set_up_kernel(parts.config, tap->index(), mac, shared); !done) {
        return std::unexpected(done.error());
    }
    auto sealer = create<crypto::Sealer>();
    if (!sealer) {
        return std::unexpected(sealer.error());
    }
    auto opener = create<crypto::Opener>();
    if (!opener) {
        return std::unexpected(opener.error());
    }
    return std::make_unique<SlowPath>(parts, mac, std::move(*tap), std::move(*neighbours), std::move(*sealer),
                                      std::move(*opener));
}

std::uint32_t buffer_count(std::uint16_t rx_queues, std::uint32_t descriptors) {
    constexpr std::uint32_t at_hand = 1024;  // bursts, and a mempool cache
    return (rx_queues + 1U) * descriptors + at_hand;
}

}  // namespace flowtap::dataplane::slow_path
