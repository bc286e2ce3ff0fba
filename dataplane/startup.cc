#include "dataplane/startup.h"

#include "crypto/engine.h"
#include "crypto/sealer.h"
#include "dataplane/control_link.h"
#include "dataplane/device.h"
#include "dataplane/eal.h"
#include "dataplane/eal_arguments.h"
#include "dataplane/fragment_copies.h"
#include "dataplane/kernel_interface.h"
#include "dataplane/large_pages.h"
#include "dataplane/manager.h"
#include "dataplane/mempool.h"
#include "dataplane/mirrored_wires.h"
#include "dataplane/next_hops.h"
#include "dataplane/port.h"
#include "dataplane/privileges.h"
#include "dataplane/queue_plan.h"
#include "dataplane/slow_path/inbound_table.h"
#include "dataplane/slow_path/slow_path_setup.h"
#include "dataplane/tasking.h"
#include "dataplane/worker.h"
#include "lib/link.h"
#include "lib/region.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_ether.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <pwd.h>
#include <random>
#include <unistd.h>
#include <vector>

namespace flowtap::dataplane {
namespace {

using Ports = std::vector<std::unique_ptr<Port>>;

bool has_slow_path(const lib::Config& config) {
    return !config.delivery.interface.empty();
}

/// In a wire, or the delivery port.
bool used(const lib::Config& config, std::size_t port) {
    return port == config.delivery.port ||
           std::ranges::any_of(config.wires, [port](const lib::WireConfig& wire) {
               return wire.a == port || wire.b == port;
           });
}

Result<std::vector<Device>> describe_devices(const lib::Config& config) {
    std::vector<Device> devices;
    std::string wrong;
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        const lib::PortConfig& port = config.ports[i];
        auto device = parse_device(port.device, i);
        if (device) {
            // A ring that held less than the interface's MTU would cut frames.
            const std::uint32_t whole = interface_mtu(device->interface).value_or(0) + RTE_ETHER_HDR_LEN;
            const bool kernel = i == config.delivery.port && has_slow_path(config);
            device =
                complete(std::move(*device), std::max(largest_frame(config, i), whole),
                         config.dataplane.workers.size() + (kernel ? 1 : 0), config.dataplane.queue_size);
        }
        if (device) {
            devices.push_back(*device);
            continue;
        }
        wrong += fmt::format("{}{}:{}:{}: port \"{}\": {}", wrong.empty() ? "" : "\n", config.file.string(),
                             port.line, port.column, port.name, device.error());
    }
    if (!wrong.empty()) {
        return std::unexpected(Failure{ExitCode::configuration, wrong});
    }
    return devices;
}

Result<Ports> open_ports(const lib::Config& config, std::span<const Device> devices) {
    Ports ports(config.ports.size());
    for (std::size_t i = 0; i < ports.size(); ++i) {
        if (!used(config, i)) {
            spdlog::warn("port \"{}\" is in no wire and not the delivery port: not used",
                         config.ports[i].name);
            continue;
        }
        auto port = Port::open(config, i, devices[i]);
        if (!port) {
            return std::unexpected(port.error());
        }
        ports[i] = std::move(*port);
    }
    return ports;
}

Result<QueuePlan> plan(const lib::Config& config, const Ports& ports, std::span<const Device> devices) {
    std::vector<QueueCount> limits;
    for (const auto& port : ports) {
        limits.push_back(port ? port->limits() : QueueCount{});
    }
    auto planned = plan_queues(config, limits);
    if (!planned) {
        return std::unexpected(
            Failure{ExitCode::configuration, fmt::format("{}: {}", config.file.string(), planned.error())});
    }
    const std::uint16_t delivery = config.delivery.port;
    if (has_slow_path(config) && receives_on_all_queues(devices[delivery])) {
        planned->ports[delivery].rx = limits[delivery].rx;
    }
    return std::move(*planned);
}

/// What a worker's buffers come from.
struct Pools {
    Mempool receive;
    Mempool copies;
    Mempool fragments;  ///< that wait for their first one
};

std::uint32_t slow_path_buffers(const lib::Config& config, const QueuePlan& queues) {
    return slow_path::buffer_count(queues.ports[config.delivery.port].rx, config.dataplane.queue_size);
}

std::uint32_t slow_path_room(const lib::Config& config, const Ports& ports) {
    return std::max(ports[config.delivery.port]->data_room(), slow_path::data_room(config.delivery.mtu));
}

/// The slow path's own; none without one.
Result<Mempool> create_slow_path_pool(const lib::Config& config, const Ports& ports,
                                      const QueuePlan& queues) {
    return has_slow_path(config) ? create_mempool("slow-path", slow_path_buffers(config, queues),
                                                  slow_path_room(config, ports), rte_get_main_lcore())
                                 : Result<Mempool>{};
}

Result<std::vector<Pools>> create_pools(const lib::Config& config, const Ports& ports,
                                        const QueuePlan& queues) {
    const lib::DataplaneConfig& dataplane = config.dataplane;
    std::vector<std::uint32_t> rooms(queues.workers.size());
    std::uint64_t needed = 0;
    const std::uint32_t copy_room = copy_data_room(config.delivery.mtu);
    for (std::size_t worker = 0; worker < queues.workers.size(); ++worker) {
        for (const Lane& lane : queues.workers[worker]) {
            rooms[worker] = std::max(rooms[worker], ports[lane.rx_port]->data_room());
        }
        needed += dataplane.buffers * buffer_footprint(rooms[worker]) +
                  dataplane.copy_buffers * buffer_footprint(copy_room) +
                  match::most_waiting_fragments * buffer_footprint(fragment_data_room);
    }
    if (has_slow_path(config)) {
        needed += slow_path_buffers(config, queues) * buffer_footprint(slow_path_room(config, ports));
    }
    const std::uint64_t needed_mib = (needed >> 20U) + 32;  // DPDK's own queues and tables
    if (needed_mib > dataplane.memory_mib) {
        return std::unexpected(Failure{
            ExitCode::configuration,
            fmt::format(
                "{}: [dataplane] memory-mib = {}, and the buffers of {} workers need {}: raise it, or lower "
                "buffers, copy-buffers or mtu",
                config.file.string(), dataplane.memory_mib, rooms.size(), needed_mib)});
    }
    std::vector<Pools> pools;
    for (std::size_t worker = 0; worker < rooms.size(); ++worker) {
        const auto lcore = static_cast<unsigned>(worker + 1);
        auto receive =
            create_mempool(fmt::format("receive-{}", worker), dataplane.buffers, rooms[worker], lcore);
        if (!receive) {
            return std::unexpected(receive.error());
        }
        auto copies =
            create_mempool(fmt::format("copies-{}", worker), dataplane.copy_buffers, copy_room, lcore);
        if (!copies) {
            return std::unexpected(copies.error());
        }
        auto fragments = create_mempool(fmt::format("fragments-{}", worker), match::most_waiting_fragments,
                                        fragment_data_room, lcore);
        if (!fragments) {
            return std::unexpected(fragments.error());
        }
        pools.push_back({std::move(*receive), std::move(*copies), std::move(*fragments)});
    }
    return pools;
}

/// `others`: for receive queues that are no worker's.
Result<void> configure_ports(const Ports& ports, const QueuePlan& queues, std::span<const Pools> pools,
                             rte_mempool* others) {
    for (std::size_t i = 0; i < ports.size(); ++i) {
        if (!ports[i]) {
            continue;
        }
        std::vector<rte_mempool*> receive(queues.ports[i].rx, others);
        for (std::size_t worker = 0; worker < pools.size(); ++worker) {
            for (const Lane& lane : queues.workers[worker]) {
                if (lane.rx_port == i) {
                    receive[lane.rx_queue] = pools[worker].receive.get();
                }
            }
        }
        if (auto done = ports[i]->configure(queues.ports[i], receive); !done) {
            return done;
        }
    }
    return {};
}

std::unexpected<Failure> failed(std::string what, const std::string& why) {
    return std::unexpected(Failure{ExitCode::failure, what + ": " + why});
}

Result<lib::LinkServer> listen(const lib::Config& config, lib::StatusRegion& status) {
    std::error_code error;
    std::filesystem::create_directories(config.control.run_dir, error);
    const passwd* user = getpwnam(config.control.user.c_str());
    const std::filesystem::path path = config.control.run_dir / "dataplane.sock";
    auto server = lib::LinkServer::listen(path, status, config.digest,
                                          user != nullptr ? std::optional{user->pw_uid} : std::nullopt);
    if (!server) {
        return failed(path.string(), server.error().message);
    }
    return std::move(*server);
}

std::uint64_t random_seed() {
    return std::uint64_t{std::random_device{}()} << 32U | std::random_device{}();
}

/// In the quiescence, behind the workers.
std::uint32_t slow_path_reader(const lib::Config& config) {
    return static_cast<std::uint32_t>(config.dataplane.workers.size());
}

/// What the workers share and the manager changes.
struct Tables {
    LargePages memory;
    match::Quiescence quiescence;
    match::TapTable taps;
    OwnFlows own_flows;
    DropPolicies policies;
    OverBoard over;
    NextHops next_hops;
    StopSwitch stops;
    WallClock clock{rte_get_tsc_hz()};
    RateLimits rates;
    std::string sealing;  ///< what does it
    SaTable sas;
    std::optional<slow_path::InboundTable> inbound;

    Tables(const lib::Config& config, match::Simd simd, crypto::Engine engine)
        : quiescence(slow_path_reader(config) + 1),
          taps(quiescence, {.max_taps = config.dataplane.max_taps,
                            .simd = simd,
                            .memory = &memory,
                            .seed = random_seed()}),
          own_flows(quiescence),
          policies(config.drop_policies),
          over(config.dataplane.max_taps),
          next_hops(config.tunnels.size()),
          rates(config.destinations, config.dataplane.workers.size(),
                {.clock = rte_get_tsc_hz(), .now = rte_rdtsc()}),
          sealing(engine.description()),
          sas(quiescence, std::move(engine), config.tunnels, config.delivery.mtu) {
        clock.adjust();
        for (const lib::TunnelConfig& tunnel : config.tunnels) {
            own_flows.add_tunnel(tunnel.local, tunnel.remote);
        }
        if (!has_slow_path(config)) {
            next_hops.set_all(NextHop{config.delivery.next_hop});
        }
    }
};

std::uint32_t far_ports(const lib::Config& config) {
    static_assert(lib::max_ports <= 32);
    std::uint32_t ports = 0;
    for (const lib::WireConfig& wire : config.wires) {
        ports |= std::uint32_t{1} << wire.b;
    }
    return ports;
}

Result<crypto::Engine> create_engine() {
    auto engine = crypto::Engine::create();
    if (!engine) {
        return failed("IPsec-MB", engine.error());
    }
    return std::move(*engine);
}

match::InnerTunnels inner_tunnels(const lib::DataplaneConfig& config) {
    const auto has = [&](lib::InnerTunnel tunnel) {
        return std::ranges::count(config.inner_match, tunnel) != 0;
    };
    return {.gre = has(lib::InnerTunnel::gre),
            .gtp_u = has(lib::InnerTunnel::gtp_u),
            .vxlan = has(lib::InnerTunnel::vxlan)};
}

Result<std::vector<std::unique_ptr<Worker>>> create_workers(const lib::Config& config, const Ports& ports,
                                                            const QueuePlan& queues,
                                                            std::span<const Pools> pools, Tables& tables,
                                                            lib::StatusRegion& region, const Orders& orders) {
    std::vector<std::unique_ptr<Worker>> workers;
    const std::size_t count = queues.workers.size();
    for (std::size_t i = 0; i < count; ++i) {
        lib::WorkerStatus& status = region.status().workers[i];
        status.lcore.store(config.dataplane.workers[i], std::memory_order_relaxed);
        auto engine = create_engine();
        if (!engine) {
            return std::unexpected(engine.error());
        }
        auto sealer = crypto::Sealer::create(std::move(*engine));
        if (!sealer) {
            return failed("sealing", sealer.error());
        }
        std::vector<WorkerLane> lanes;
        for (const Lane& lane : queues.workers[i]) {
            lanes.push_back(
                {.rx = ports[lane.rx_port].get(),
                 .tx = ports[lane.tx_port].get(),
                 .rx_queue = lane.rx_queue,
                 .tx_queue = lane.tx_queue,
                 .backlog = {ports[lane.rx_port]->id(), lane.rx_queue, config.dataplane.queue_size}});
        }
        Delivery delivery{{.port = *ports[config.delivery.port],
                           .queue = static_cast<std::uint16_t>(i),
                           .pool = pools[i].copies.get(),
                           .sas = tables.sas,
                           .next_hops = tables.next_hops,
                           .mtu = config.delivery.mtu,
                           .status = status,
                           .taps = region.taps(i),
                           .losses = region.losses(i),
                           .policies = tables.policies,
                           .over = tables.over,
                           .clock = tables.clock,
                           .rates = tables.rates,
                           .far_ports = far_ports(config),
                           .worker = static_cast<std::uint16_t>(i),
                           .workers = static_cast<std::uint16_t>(count)},
                          std::move(*sealer)};
        workers.push_back(std::make_unique<Worker>(
            Worker::Parts{.orders = orders,
                          .lanes = std::move(lanes),
                          .taps = tables.taps,
                          .own_flows = tables.own_flows,
                          .stops = tables.stops,
                          .quiescence = tables.quiescence,
                          .reader = static_cast<std::uint32_t>(i),
                          .status = status,
                          .inner = inner_tunnels(config.dataplane)},
            std::move(delivery), pools[i].fragments.get(),
            match::FragmentTracker::Options{
                .clock_rate = rte_get_tsc_hz(), .seed = random_seed(), .memory = &tables.memory}));
    }
    return workers;
}

/// None without an interface for the kernel.
Result<std::unique_ptr<slow_path::SlowPath>> create_slow_path(const lib::Config& config, const Ports& ports,
                                                              std::span<const Device> devices,
                                                              const QueuePlan& queues, rte_mempool* pool,
                                                              Tables& tables, lib::StatusRegion& region) {
    if (!has_slow_path(config)) {
        return nullptr;
    }
    auto engine = create_engine();
    if (!engine) {
        return std::unexpected(engine.error());
    }
    tables.inbound.emplace(tables.quiescence, std::move(*engine));
    const QueueCount& delivery = queues.ports[config.delivery.port];
    return slow_path::create_slow_path({.config = config,
                                        .port = *ports[config.delivery.port],
                                        .rx_queues = delivery.rx,
                                        .tx_queue = static_cast<std::uint16_t>(delivery.tx - 1),
                                        .pool = pool,
                                        .sas = tables.sas,
                                        .inbound = *tables.inbound,
                                        .next_hops = tables.next_hops,
                                        .quiescence = tables.quiescence,
                                        .reader = slow_path_reader(config),
                                        .status = region.status().slow_path},
                                       shared_interface(devices[config.delivery.port]));
}

int run_worker(void* worker) {
    static_cast<Worker*>(worker)->run();
    return 0;
}

}  // namespace

Result<void> run(const lib::Config& config, const RunOptions& options) {
    if (auto restricted = restrict_process(); !restricted) {
        return restricted;
    }
    const auto stop_signals = catch_stop_signals();
    if (!stop_signals) {
        return std::unexpected(stop_signals.error());
    }
    const auto devices = describe_devices(config);
    if (!devices) {
        return std::unexpected(devices.error());
    }
    if (auto allowed = require_capabilities(config, *devices); !allowed) {
        return allowed;
    }
    Machine machine = this_machine();
    machine.share_cores = options.share_cores;
    const auto arguments = eal_arguments(config, *devices, machine, static_cast<std::uint64_t>(getpid()));
    if (!arguments) {
        return std::unexpected(arguments.error());
    }
    const auto eal = Eal::start(*arguments);
    if (!eal) {
        return std::unexpected(eal.error());
    }
    std::vector<Pools> pools;  // outlive the ports, which hold buffers
    Mempool slow_path_pool;
    auto ports = open_ports(config, *devices);
    if (!ports) {
        return std::unexpected(ports.error());
    }
    const auto queues = plan(config, *ports, *devices);
    if (!queues) {
        return std::unexpected(queues.error());
    }
    auto created = create_pools(config, *ports, *queues);
    if (!created) {
        return std::unexpected(created.error());
    }
    pools = std::move(*created);
    auto others = create_slow_path_pool(config, *ports, *queues);
    if (!others) {
        return std::unexpected(others.error());
    }
    slow_path_pool = std::move(*others);
    if (auto configured = configure_ports(*ports, *queues, pools, slow_path_pool.get()); !configured) {
        return configured;
    }

    const auto worker_count = static_cast<std::uint32_t>(config.dataplane.workers.size());
    auto region = lib::StatusRegion::create({config.dataplane.max_taps, worker_count}, lib::new_epoch());
    if (!region) {
        return failed("shared memory", region.error());
    }
    auto engine = create_engine();
    if (!engine) {
        return std::unexpected(engine.error());
    }
    Orders orders = Order::wait;
    Tables tables(config, options.simd, std::move(*engine));
    auto workers = create_workers(config, *ports, *queues, pools, tables, *region, orders);
    if (!workers) {
        return std::unexpected(workers.error());
    }
    auto slow_path =
        create_slow_path(config, *ports, *devices, *queues, slow_path_pool.get(), tables, *region);
    if (!slow_path) {
        return std::unexpected(slow_path.error());
    }
    Tasking tasking({.config = config,
                     .quiescence = tables.quiescence,
                     .taps = tables.taps,
                     .own_flows = tables.own_flows,
                     .sas = tables.sas,
                     .status = *region,
                     .policies = tables.policies,
                     .over = tables.over,
                     .stops = tables.stops,
                     .inbound = tables.inbound ? &*tables.inbound : nullptr});
    auto server = listen(config, *region);
    if (!server) {
        return std::unexpected(server.error());
    }
    ControlLink link(std::move(*server), *region, tasking, tables.stops, config);
    for (const auto& port : *ports) {
        if (auto started = port ? port->start() : Result<void>{}; !started) {
            return started;
        }
    }
    auto mirrored = MirroredWires::create(config, *ports);
    if (!mirrored) {
        return std::unexpected(mirrored.error());
    }
    const std::optional<cap_value_t> kept =
        mirrored->need_net_admin() ? std::optional{CAP_NET_ADMIN} : std::nullopt;
    if (auto dropped = drop_capabilities(kept); !dropped) {
        return dropped;
    }
    if (*slow_path) {
        (*slow_path)->start();
    }
    for (std::size_t i = 0; i < workers->size(); ++i) {
        rte_eal_remote_launch(run_worker, (*workers)[i].get(), static_cast<unsigned>(i + 1));
    }
    spdlog::info("{} workers, tap lookup by {}, sealing by {}; {}", worker_count,
                 match::to_string(options.simd), tables.sealing,
                 kept ? "the manager keeps CAP_NET_ADMIN, for mirror-link-loss, and no other is kept"
                      : "no capability is kept");
    Manager manager({.config = config,
                     .ports = *ports,
                     .status = region->status(),
                     .link = link,
                     .tasking = tasking,
                     .taps = tables.taps,
                     .sas = tables.sas,
                     .clock = tables.clock,
                     .mirrored = *mirrored,
                     .orders = orders,
                     .stop_signals = stop_signals->get()});
    manager.run();
    rte_eal_mp_wait_lcore();
    slow_path->reset();
    for (const auto& port : *ports) {
        if (port) {
            port->stop();
        }
    }
    log_summary(config, region->status());
    return {};
}

}  // namespace flowtap::dataplane
