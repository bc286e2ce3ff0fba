#include "dataplane/mirrored_wires.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace flowtap::dataplane {
namespace {

using Side = LinkMirror::Side;

constexpr std::chrono::seconds retry_interval{1};

}  // namespace

Result<MirroredWires> MirroredWires::create(const lib::Config& config,
                                            std::span<const std::unique_ptr<Port>> ports) {
    MirroredWires made;
    for (const lib::WireConfig& wire : config.wires) {
        if (!wire.mirror_link_loss) {
            continue;
        }
        for (const std::uint16_t index : {wire.a, wire.b}) {
            Port& port = *ports[index];
            if (auto able = port.take_link_control("mirror-link-loss of wire \"" + wire.name + "\""); !able) {
                return std::unexpected(able.error());
            }
            made.need_net_admin_ = made.need_net_admin_ || port.link_control_needs_net_admin();
        }
        made.wires_.push_back({.config = &wire,
                               .a = ports[wire.a].get(),
                               .b = ports[wire.b].get(),
                               .mirror = LinkMirror(Clock::now()),
                               .line = {},
                               .next_try = {}});
    }
    return made;
}

void MirroredWires::look(Clock::time_point now) {
    for (Wire& wire : wires_) {
        const auto step = wire.mirror.observe(now, {wire.a->link().up, wire.b->link().up});
        if (step && now >= wire.next_try) {
            take(wire, *step, now);
        }
        if (const unsigned changes = wire.line.due(now); changes != 0) {
            const Port& port = wire.last.side == Side::a ? *wire.a : *wire.b;
            const Port& far = wire.last.side == Side::a ? *wire.b : *wire.a;
            if (wire.last.up) {
                spdlog::info(
                    "wire \"{}\": the link of port \"{}\" is brought up again, since port \"{}\" has its "
                    "own{}",
                    wire.config->name, port.name(), far.name(), more_changes(changes));
            } else {
                spdlog::warn(
                    "wire \"{}\": the link of port \"{}\" is taken down, since port \"{}\" has lost its "
                    "own{}",
                    wire.config->name, port.name(), far.name(), more_changes(changes));
            }
        }
    }
}

void MirroredWires::take(Wire& wire, LinkMirror::Step step, Clock::time_point now) {
    Port& port = step.side == Side::a ? *wire.a : *wire.b;
    if (const int error = port.set_link(step.up); error != 0) {
        wire.next_try = now + retry_interval;
        spdlog::error("wire \"{}\": the link of port \"{}\" cannot be {}: {}", wire.config->name, port.name(),
                      step.up ? "brought up" : "taken down", std::strerror(error));
        return;
    }
    wire.mirror.done(step, now);
    wire.last = step;
    wire.line.changed();
}

bool MirroredWires::held(std::size_t port) const {
    return std::ranges::any_of(wires_, [port](const Wire& wire) {
        return (wire.config->a == port && wire.mirror.held(Side::a)) ||
               (wire.config->b == port && wire.mirror.held(Side::b));
    });
}

void MirroredWires::release() {
    for (Wire& wire : wires_) {
        for (const Side side : {Side::a, Side::b}) {
            if (wire.mirror.held(side)) {
                take(wire, {side, true}, Clock::now());
            }
        }
    }
}

}  // namespace flowtap::dataplane
