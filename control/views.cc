#include "control/views.h"

#include "control/admission.h"
#include "control/sa_view.h"
#include "lib/next_hops.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <unistd.h>

namespace flowtap::control {

namespace {

using nlohmann::json;

std::string_view name_of(std::uint64_t state) {
    switch (static_cast<lib::DataplaneState>(state)) {
        case lib::DataplaneState::starting:
            return "starting";
        case lib::DataplaneState::waiting_for_taps:
            return "waiting for taps";
        case lib::DataplaneState::forwarding:
            return "forwarding";
        case lib::DataplaneState::stopping:
            return "stopping";
    }
    return "unknown";
}

std::string_view name_of_link(std::uint64_t link) {
    switch (static_cast<lib::PortLink>(link)) {
        case lib::PortLink::down:
            return "down";
        case lib::PortLink::up:
            return "up";
        case lib::PortLink::held_down:
            return "taken down since the other side is lost";
    }
    return "unknown";
}

std::uint64_t load(const lib::Counter& counter) {
    return counter.load(std::memory_order_relaxed);
}

/// Every counter of a table by its name; `value` reads the one with the index.
template <std::size_t Size, typename Value>
json counters(const std::array<lib::CounterInfo, Size>& table, Value value) {
    auto object = json::object();
    for (std::size_t i = 0; i < Size; ++i) {
        object[std::string{table[i].name}] = value(i);
    }
    return object;
}

const lib::ManagerStatus* manager(const ViewSources& sources) {
    const auto* const status = sources.link.status();
    return status == nullptr ? nullptr : &status->status().manager;
}

std::uint64_t copies(const ViewSources& sources, std::size_t counter) {
    std::uint64_t sum = 0;
    if (const auto* const status = sources.link.status()) {
        for (std::size_t worker = 0; worker < status->shape().worker_count; ++worker) {
            sum += load(status->status().workers[worker].counters.values[counter]);
        }
    }
    return sum;
}

/// None without an interface for the kernel.
json next_hops(const ViewSources& sources) {
    auto list = json::array();
    const auto* const status = sources.link.status();
    const auto addresses = lib::next_hop_addresses(sources.config);
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        const auto mac = status == nullptr ? std::nullopt
                                           : lib::next_hop_mac(load(status->status().slow_path.next_hops[i]));
        list.push_back({{"address", lib::to_string(addresses[i])},
                        {"state", status == nullptr ? "unknown"
                                  : mac             ? "answers"
                                                    : "no answer"},
                        {"mac", mac ? json(lib::to_string(*mac)) : json(nullptr)}});
    }
    return list;
}

json alarms(const ViewSources& sources) {
    auto list = json::array();
    if (!sources.link.ready()) {
        const auto& trouble = sources.link.trouble();
        list.push_back(
            fmt::format("the dataplane is not in service: {}", trouble.empty() ? "restoring" : trouble));
    }
    for (auto& alarm : sources.associations.alarms(sources.config, sources.link.ready())) {
        list.push_back(std::move(alarm));
    }
    for (const auto& inbound : sources.associations.inbound()) {
        if (!inbound.trouble.empty()) {
            list.push_back(fmt::format("tunnel \"{}\": {}", sources.config.tunnels[inbound.tunnel].name,
                                       inbound.trouble));
        }
    }
    for (const auto& hop : next_hops(sources)) {
        if (hop.at("state") == "no answer") {
            list.push_back(fmt::format("next hop {} does not answer", hop.at("address").get<std::string>()));
        }
    }
    for (const auto port : sources.link.lost_ports()) {
        list.push_back(fmt::format("port \"{}\" has lost its device", sources.config.ports[port].name));
    }
    if (const auto* const dataplane = manager(sources)) {
        for (std::size_t i = 0; i < sources.config.ports.size(); ++i) {
            if (load(dataplane->link_up[i]) == static_cast<std::uint64_t>(lib::PortLink::held_down)) {
                list.push_back(fmt::format("port \"{}\": link taken down since the other side is lost",
                                           sources.config.ports[i].name));
            }
        }
    }
    if (const auto left_out = copies(sources, static_cast<std::size_t>(lib::WorkerCounter::match_overflow));
        left_out != 0) {
        list.push_back(fmt::format(
            "{} matches were left out: more taps than one frame can match (match-overflow)", left_out));
    }
    if (const auto suspects = sources.service.suspects(); suspects != 0) {
        list.push_back(fmt::format("authentication fails repeatedly on {} DTCP sessions", suspects));
    }
    if (const auto lost = sources.service.counters()[ServiceCounter::taps_not_restored]; lost != 0) {
        list.push_back(fmt::format("{} entries of the tap registry were not restored", lost));
    }
    return list;
}

}  // namespace

json health_view(const ViewSources& sources, Now now) {
    const auto* const dataplane = manager(sources);
    json view{
        {"control",
         {{"state", sources.link.ready() ? "ready" : "waiting for the dataplane"},
          {"pid", ::getpid()},
          {"uptime-seconds", (now.boot - sources.started) / nanoseconds_per_second},
          {"dtcp-sessions", sources.service.sessions()},
          {"taps", sources.tasking.taps().size()},
          {"taps-timed-out", sources.tasking.timed_out()},
          {"counters", counters(service_counters,
                                [&](std::size_t i) {
                                    return sources.service.counters()[static_cast<ServiceCounter>(i)];
                                })}}},
        {"dataplane", {{"connected", dataplane != nullptr}, {"connections", sources.link.connections()}}},
        {"alarms", alarms(sources)}};
    if (dataplane != nullptr) {
        auto& shown = view["dataplane"];
        shown["state"] = name_of(load(dataplane->state));
        shown["pid"] = sources.link.pid();
        shown["taps"] = load(dataplane->taps);
        shown["security-associations"] = load(dataplane->sas);
        shown["commits"] = load(dataplane->commits);
        shown["refusals"] = load(dataplane->refusals);
        // An epoch is the CLOCK_BOOTTIME at which the process began.
        const auto began = static_cast<std::uint64_t>(sources.link.status()->epoch());
        shown["uptime-seconds"] = now.boot > began ? (now.boot - began) / nanoseconds_per_second : 0;
    }
    return view;
}

json ports_view(const ViewSources& sources) {
    auto list = json::array();
    const auto& config = sources.config;
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        json port{{"name", config.ports[i].name}, {"use", i == config.delivery.port ? "delivery" : "unused"}};
        for (const auto& wire : config.wires) {
            if (wire.a == i || wire.b == i) {
                port["use"] = fmt::format("wire {}", wire.name);
            }
        }
        if (const auto* const status = sources.link.status()) {
            const auto& shown = status->status();
            const bool lost = sources.link.lost_ports().contains(static_cast<std::uint32_t>(i));
            port["link"] = lost ? "lost" : name_of_link(load(shown.manager.link_up[i]));
            port["mbps"] = load(shown.manager.link_mbps[i]);
            port["counters"] = counters(lib::port_counters, [&](std::size_t counter) {
                std::uint64_t sum = 0;
                for (std::size_t worker = 0; worker < status->shape().worker_count; ++worker) {
                    sum += load(shown.workers[worker].ports[i].values[counter]);
                }
                return sum + (i == config.delivery.port ? load(shown.slow_path.port.values[counter]) : 0);
            });
            port["driver"] = {{"missed", load(shown.manager.driver_missed[i])},
                              {"no-mbuf", load(shown.manager.driver_no_mbuf[i])},
                              {"tx-failed", load(shown.manager.driver_failed[i])}};
        }
        list.push_back(std::move(port));
    }
    return {{"ports", std::move(list)}};
}

json workers_view(const ViewSources& sources) {
    auto list = json::array();
    if (const auto* const status = sources.link.status()) {
        for (std::size_t worker = 0; worker < status->shape().worker_count; ++worker) {
            const auto& shown = status->status().workers[worker];
            list.push_back({{"worker", worker},
                            {"core", load(shown.lcore)},
                            {"busy-percent", sources.load.busy_percent(*status, worker)},
                            {"counters", counters(lib::worker_counters, [&](std::size_t counter) {
                                 return load(shown.counters.values[counter]);
                             })}});
        }
    }
    return {{"workers", std::move(list)}};
}

json destination_account(const ViewSources& sources, std::size_t account) {
    std::uint64_t owed = 0;
    std::uint64_t sent = 0;
    auto lost = json::object();
    if (const auto* const status = sources.link.status()) {
        for (std::size_t worker = 0; worker < status->shape().worker_count; ++worker) {
            const auto& shown = status->status().workers[worker].destinations[account];
            sent += load(shown.counters[lib::DestinationCounter::copies_sent]);
            for (const auto cause : lib::loss_causes) {
                if (const auto count = load(shown.losses[cause]); count != 0) {
                    const std::string name{lib::worker_counters[static_cast<std::size_t>(cause)].name};
                    lost[name] = lost.value(name, std::uint64_t{0}) + count;
                }
            }
            owed += load(shown.counters[lib::DestinationCounter::copies_owed]);
        }
    }
    return {{"owed", owed}, {"sent", sent}, {"lost", std::move(lost)}};
}

/// Of several names of one address and port the first; last, all that the configuration does not name.
json destinations(const ViewSources& sources) {
    auto list = json::array();
    const auto& configured = sources.config.destinations;
    for (std::size_t i = 0; i < configured.size(); ++i) {
        const auto& destination = configured[i];
        if (settings_of(sources.config, destination.address, destination.port) != &destination) {
            continue;
        }
        json entry{{"name", destination.name},
                   {"address", lib::to_string(destination.address)},
                   {"port", destination.port}};
        entry.update(destination_account(sources, i));
        list.push_back(std::move(entry));
    }
    json others{{"name", "others"}};
    others.update(destination_account(sources, lib::other_account));
    list.push_back(std::move(others));
    return list;
}

json delivery_view(const ViewSources& sources) {
    auto list = json::array();
    for (std::size_t tunnel = 0; tunnel < sources.config.tunnels.size(); ++tunnel) {
        list.push_back(tunnel_view(sources, static_cast<std::uint16_t>(tunnel)));
    }
    auto lost = json::object();
    for (std::size_t i = 0; i < lib::worker_counters.size(); ++i) {
        const auto& info = lib::worker_counters[i];
        if (info.name.starts_with("copy-") || info.name == "match-overflow") {
            lost[std::string{info.name}] = copies(sources, i);
        }
    }
    auto slow_path = json::object();
    if (const auto* const status = sources.link.status();
        status != nullptr && !sources.config.delivery.interface.empty()) {
        slow_path = counters(lib::slow_path_counters, [&](std::size_t counter) {
            return load(status->status().slow_path.counters.values[counter]);
        });
    }
    return {{"tunnels", std::move(list)},
            {"next-hops", next_hops(sources)},
            {"slow-path", std::move(slow_path)},
            {"destinations", destinations(sources)},
            {"copies",
             {{"owed", copies(sources, static_cast<std::size_t>(lib::WorkerCounter::matches))},
              {"sent", copies(sources, static_cast<std::size_t>(lib::WorkerCounter::copies_sent))},
              {"lost", std::move(lost)}}}};
}

json answer_command(const ViewSources& sources, std::string_view line, Now now) {
    const auto error = [](std::string text) { return json{{"ok", false}, {"error", std::move(text)}}; };
    const auto request = json::parse(line, nullptr, false);
    if (!request.is_object()) {
        return error("not a JSON object");
    }
    const auto text = [&](const char* key) {
        const auto found = request.find(key);
        return found != request.end() && found->is_string() ? found->get<std::string>() : std::string{};
    };
    if (text("command") != "show") {
        return error("unknown command: \"show\" is known");
    }
    const auto what = text("what");
    json view;
    if (what == "health") {
        view = health_view(sources, now);
    } else if (what == "ports") {
        view = ports_view(sources);
    } else if (what == "workers") {
        view = workers_view(sources);
    } else if (what == "delivery") {
        view = delivery_view(sources);
    } else {
        return error("unknown view: health, ports, workers and delivery are known");
    }
    return {{"ok", true}, {"view", std::move(view)}};
}

}  // namespace flowtap::control
