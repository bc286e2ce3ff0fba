#include "dataplane/queue_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace flowtap::dataplane {

std::expected<QueuePlan, std::string> plan_queues(const lib::Config& config,
                                                  std::span<const QueueCount> limits) {
    const auto workers = static_cast<std::uint16_t>(config.dataplane.workers.size());
    QueuePlan plan;
    plan.ports.resize(config.ports.size());
    plan.workers.resize(workers);

    std::uint16_t turn = 0;
    const auto add_direction = [&](std::uint16_t from, std::uint16_t to) {
        const bool shared = limits[from].rx >= workers && limits[to].tx >= workers;
        const std::uint16_t queues = shared ? workers : 1;
        for (std::uint16_t queue = 0; queue < queues; ++queue) {
            const auto worker = shared ? queue : static_cast<std::uint16_t>(turn++ % workers);
            plan.workers[worker].push_back({from, queue, to, queue});
        }
        plan.ports[from].rx = queues;
        plan.ports[to].tx = queues;
    };
    for (const lib::WireConfig& wire : config.wires) {
        for (const std::uint16_t port : {wire.a, wire.b}) {
            if (limits[port].rx == 0 || limits[port].tx == 0) {
                return std::unexpected(
                    fmt::format("port \"{}\": the device cannot both receive and send, as a port "
                                "of wire \"{}\" has to",
                                config.ports[port].name, wire.name));
            }
        }
        add_direction(wire.a, wire.b);
        add_direction(wire.b, wire.a);
    }

    const std::uint16_t delivery = config.delivery.port;
    if (plan.ports[delivery] != QueueCount{}) {
        return std::unexpected(
            fmt::format("port \"{}\" is the delivery port and in a wire; expected one of the two",
                        config.ports[delivery].name));
    }
    const bool kernel = !config.delivery.interface.empty();
    const auto senders = static_cast<std::uint16_t>(workers + (kernel ? 1 : 0));
    if (limits[delivery].tx < senders) {
        return std::unexpected(fmt::format(
            "port \"{}\": {} workers{} deliver through it, and the device has {} transmit "
            "queues; expected a device with more, or fewer workers",
            config.ports[delivery].name, workers, kernel ? " and the kernel" : "", limits[delivery].tx));
    }
    if (kernel && limits[delivery].rx == 0) {
        return std::unexpected(
            fmt::format("port \"{}\": the device cannot receive, as the delivery port's "
                        "interface has to",
                        config.ports[delivery].name));
    }
    plan.ports[delivery] = {.rx = static_cast<std::uint16_t>(kernel ? 1 : 0), .tx = senders};
    return plan;
}

}  // namespace flowtap::dataplane
