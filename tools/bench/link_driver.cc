// link-driver: a control process made of lines. Reads one JSON command a line, answers with one JSON object a
// line.
//
//   {"do":"resync"}                              what follows, up to the commit, is the whole state
//   {"do":"tap","slot":0,"id":1,"family":4,"source":["10.0.0.0/8"],"dest":[..],"protocol":[17],"source_port":[[1,9]],
//    "dest_port":[..],"destinations":[{"dest":"2.2.2.2","dest_port":1,"source":"1.1.1.1","source_port":2,"ttl":64,
//    "mirror":"0000030000000090","account":0}],"host":"10.0.0.7","interfaces":[[0,100],[1,null]],"layer2":false,"packet_limit":9,"byte_limit":900,"suppressed":3}
//   {"do":"update","slot":0,"id":1,"packet_limit":9}    the whole service: what is not named is without limit
//   {"do":"fill","count":1000,"slot":0}          host taps on 172.16.0.0/12 and 2001:db8::/32 by turns of ten
//   {"do":"remove","slot":0,"id":1}
//   {"do":"sa","slot":0,"id":1,"spi":4097,"tunnel":0,"suite":"aes-256-gcm-16","key":"hex","first":1,"count":1000,
//    "extended":false,"udp":false,"padded":0}    or with "opens":true, and without a lease
//   {"do":"lease","slot":0,"id":1,"first":1001,"count":1000}      {"do":"remove_sa","slot":0,"id":1}
//   {"do":"commit"}                              -> {"kind":"committed","refusal":0,"slot":0,"us":12}
//   {"do":"counters","taps":[0,1]}               -> every counter that is not zero, by name, settled
//   {"do":"events"}                              -> {"events":[{"kind":"lease_low","slot":0,"id":0}]}
#include "lib/next_hops.h"
#include "lib/secret.h"
#include "lib/status.h"
#include "lib/suite.h"
#include "tools/bench/link_session.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <poll.h>
#include <sched.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

namespace {

namespace lib = flowtap::lib;
using flowtap::tools::LinkSession;
using nlohmann::json;
using std::chrono::milliseconds;

lib::IpAddress address(const std::string& text) {
    const auto parsed = lib::parse_address(text);
    if (!parsed) {
        throw std::runtime_error(parsed.error());
    }
    return *parsed;
}

lib::AddressList addresses(const json& command, const char* key) {
    lib::AddressList list;
    for (const std::string text : command.value(key, json::array())) {
        const bool negated = text.starts_with('!');
        const auto prefix = lib::parse_prefix(std::string_view{text}.substr(negated ? 1 : 0));
        if (!prefix) {
            throw std::runtime_error(prefix.error());
        }
        list.push_back({lib::first_address(*prefix), lib::last_address(*prefix), negated});
    }
    return list;
}

lib::NumberList numbers(const json& command, const char* key) {
    lib::NumberList list;
    for (const json& item : command.value(key, json::array())) {
        if (item.is_array()) {
            list.push_back({item.at(0), item.at(1)});
        } else {
            list.push_back({item, item});
        }
    }
    return list;
}

/// [port, VLAN id]; null: any.
lib::InterfaceList interfaces(const json& command) {
    lib::InterfaceList list;
    for (const json& item : command.value("interfaces", json::array())) {
        list.push_back({item.at(0), item.at(1).is_null() ? lib::any_vlan : item.at(1).get<std::uint16_t>()});
    }
    return list;
}

lib::TapService service(const json& command) {
    return {.packet_limit = command.value("packet_limit", lib::no_limit),
            .byte_limit = command.value("byte_limit", lib::no_limit),
            .suppressed = command.value("suppressed", std::uint64_t{0})};
}

lib::TapDestination destination(const json& item) {
    lib::TapDestination result;
    const lib::IpAddress dest = address(item.at("dest"));
    result.family = dest.family;
    result.dest_address = dest.bytes;
    result.source_address = address(item.at("source")).bytes;
    result.dest_port = item.at("dest_port");
    result.source_port = item.at("source_port");
    result.ttl = item.value("ttl", std::uint8_t{255});
    result.dscp = item.value("dscp", std::uint8_t{0});
    result.account = item.value("account", lib::other_account);
    if (const auto mirror = item.value("mirror", std::string{}); !mirror.empty()) {
        const std::uint64_t header = std::stoull(mirror, nullptr, 16);
        result.shim = lib::Shim::jmirror;
        for (std::size_t i = 0; i < result.shim_bytes.size(); ++i) {
            result.shim_bytes[i] = static_cast<std::uint8_t>(header >> (56 - 8 * i));
        }
    }
    return result;
}

void check(const std::expected<void, std::string>& result) {
    if (!result) {
        throw std::runtime_error(result.error());
    }
}

lib::TapAction action(const json& command) {
    const std::string name = command.value("action", "copy");
    if (name == "redirect") {
        return lib::TapAction::redirect;
    }
    if (name != "copy" && name != "block") {
        throw std::runtime_error("no action: " + name);
    }
    return name == "block" ? lib::TapAction::block : lib::TapAction::copy;
}

void add_tap(LinkSession& session, const json& command) {
    lib::Criterion criterion;
    criterion.family = command.value("family", 4) == 4 ? lib::Family::ipv4 : lib::Family::ipv6;
    criterion.source_address = addresses(command, "source");
    criterion.dest_address = addresses(command, "dest");
    criterion.protocol = numbers(command, "protocol");
    criterion.source_port = numbers(command, "source_port");
    criterion.dest_port = numbers(command, "dest_port");
    criterion.icmp_type = numbers(command, "icmp_type");
    criterion.icmp_code = numbers(command, "icmp_code");
    if (command.contains("host")) {
        criterion.either_address = address(command.at("host"));
    }
    criterion.interfaces = interfaces(command);
    criterion.layer2 = command.value("layer2", false);
    std::vector<lib::TapDestination> destinations;
    for (const json& item : command.at("destinations")) {
        destinations.push_back(destination(item));
    }
    check(session.batch().add_tap(lib::TapSlot{command.at("slot")}, lib::TapId{command.at("id")}, criterion,
                                  destinations, service(command), action(command)));
}

/// Host taps such as real warrants make: one address each, nine in ten IPv4, that no frame of the benchmarks
/// has.
void fill(LinkSession& session, const json& command) {
    const std::uint32_t count = command.at("count");
    const std::uint32_t first = command.value("slot", 0U);
    const lib::TapDestination target = destination(command.at("destination"));
    for (std::uint32_t i = 0; i < count; ++i) {
        lib::Criterion criterion;
        lib::IpAddress host = address(i % 10 == 9 ? "2001:db8::" : "172.16.0.0");
        const std::size_t last = lib::address_size(host.family);
        host.bytes[last - 1] = static_cast<std::uint8_t>(i);
        host.bytes[last - 2] = static_cast<std::uint8_t>(i >> 8);
        host.bytes[last - 3] = static_cast<std::uint8_t>(host.bytes[last - 3] | i >> 16);
        criterion.family = host.family;
        (i % 2 == 0 ? criterion.dest_address : criterion.source_address).push_back({host, host});
        check(session.batch().add_tap(lib::TapSlot{first + i}, lib::TapId{std::uint64_t{first} + i + 1},
                                      criterion, std::span(&target, 1)));
    }
}

void add_sa(LinkSession& session, const json& command) {
    lib::SaInstall install;
    const auto key = lib::SecretBytes::from_hex(command.at("key").get<std::string>());
    if (!key || key->size() > install.key.size()) {
        throw std::runtime_error("no key");
    }
    std::ranges::copy(key->bytes(), install.key.begin());
    install.key_size = static_cast<std::uint8_t>(key->size());
    const auto* const suite = lib::find_suite(command.value("suite", lib::suites.front().name));
    if (suite == nullptr) {
        throw std::runtime_error("no such suite");
    }
    install.suite = suite->suite;
    install.extended_sequence = command.value("extended", false) ? 1 : 0;
    install.udp_encapsulation = command.value("udp", false) ? 1 : 0;
    install.padded_length = command.value("padded", std::uint16_t{0});
    install.spi = command.at("spi");
    install.tunnel = command.value("tunnel", std::uint16_t{0});
    if (command.value("opens", false)) {
        install.direction = lib::SaDirection::opens;
    } else {
        install.lease = {command.at("first"), command.at("count")};
    }
    session.batch().install_sa(lib::SaSlot{command.at("slot")}, command.at("id"), install);
}

json commit(LinkSession& session) {
    const auto start = std::chrono::steady_clock::now();
    const lib::CompletionRecord answer = session.commit();
    const auto took = std::chrono::steady_clock::now() - start;
    return {{"kind", answer.kind == lib::CompletionKind::committed ? "committed" : "refused"},
            {"refusal", static_cast<int>(answer.refusal)},
            {"slot", answer.slot},
            {"us", std::chrono::duration_cast<std::chrono::microseconds>(took).count()}};
}

std::uint64_t load(const lib::Counter& counter) {
    return counter.load(std::memory_order_relaxed);
}

template <typename Set, std::size_t Count>
void report(json& object, const Set& set, const std::array<lib::CounterInfo, Count>& names) {
    for (std::size_t i = 0; i < Count; ++i) {
        if (const std::uint64_t value = load(set.values[i]); value != 0) {
            const std::string name{names[i].name};
            object[name] = object.value(name, std::uint64_t{0}) + value;
        }
    }
}

/// Adds those that are not zero, by cause.
void report(json& object, const lib::CopyLosses& losses) {
    for (const lib::WorkerCounter cause : lib::loss_causes) {
        if (const std::uint64_t value = load(losses[cause]); value != 0) {
            const std::string name{lib::worker_counters[static_cast<std::size_t>(cause)].name};
            object[name] = object.value(name, std::uint64_t{0}) + value;
        }
    }
}

/// Until every worker has ended the poll that it is in: what has left the box before is then counted, however
/// long a worker was off its core between sending and counting.
void settle(LinkSession& session) {
    const lib::StatusView& view = session.status();
    const auto forwarding = static_cast<std::uint64_t>(lib::DataplaneState::forwarding);
    if (load(view.status().manager.state) != forwarding) {
        return;
    }
    const auto turn = [&](const lib::Counter& heartbeat) {
        const std::uint64_t seen = load(heartbeat);
        while (load(heartbeat) == seen && load(view.status().manager.state) == forwarding) {
            session.serve(milliseconds(0));
            sched_yield();
        }
    };
    for (std::size_t worker = 0; worker < view.shape().worker_count; ++worker) {
        turn(view.status().workers[worker].heartbeat);
    }
    if (load(view.status().slow_path.heartbeat) != 0) {
        turn(view.status().slow_path.heartbeat);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
}

json counters(LinkSession& session, const json& command) {
    settle(session);
    const lib::StatusView& view = session.status();
    const lib::ManagerStatus& manager = view.status().manager;
    json result{{"state", load(manager.state)},     {"heartbeat", load(manager.heartbeat)},
                {"taps", load(manager.taps)},       {"sas", load(manager.sas)},
                {"commits", load(manager.commits)}, {"refusals", load(manager.refusals)}};
    json ports = json::array();
    for (std::size_t i = 0; i < command.value("ports", std::size_t{3}); ++i) {
        json port{{"link_up", load(manager.link_up[i])},
                  {"missed", load(manager.driver_missed[i])},
                  {"no_mbuf", load(manager.driver_no_mbuf[i])},
                  {"tx_failed", load(manager.driver_failed[i])}};
        for (std::size_t worker = 0; worker < view.shape().worker_count; ++worker) {
            report(port, view.status().workers[worker].ports[i], lib::port_counters);
        }
        ports.push_back(port);
    }
    json total = json::object();
    json workers = json::array();
    json sas = json::object();
    json destinations = json::object();
    for (std::size_t worker = 0; worker < view.shape().worker_count; ++worker) {
        const lib::WorkerStatus& status = view.status().workers[worker];
        report(total, status.counters, lib::worker_counters);
        workers.push_back({{"core", load(status.lcore)},
                           {"busy_cycles", load(status.busy_cycles)},
                           {"idle_cycles", load(status.idle_cycles)},
                           {"heartbeat", load(status.heartbeat)},
                           {"sampled_frames", load(status.sampled_frames)},
                           {"sampled_cycles", load(status.sampled_cycles)}});
        for (std::size_t account = 0; account < lib::max_accounts; ++account) {
            const lib::DestinationStatus& shown = status.destinations[account];
            if (load(shown.counters[lib::DestinationCounter::copies_owed]) != 0) {
                json& destination =
                    destinations[account == lib::other_account ? "other" : std::to_string(account)];
                destination = destination.is_null() ? json::object() : destination;
                report(destination, shown.counters, lib::destination_counters);
                report(destination, shown.losses);
            }
        }
        for (std::size_t slot = 0; slot < lib::max_sas; ++slot) {
            json& sa = sas[std::to_string(slot)];
            sa = sa.is_null() ? json::object() : sa;
            report(sa, status.sas[slot], lib::sa_counters);
            if (load(manager.sa_lease_end[slot]) != 0) {
                sa["next"] = load(manager.sa_next[slot]);
                sa["lease_end"] = load(manager.sa_lease_end[slot]);
            }
        }
    }
    const lib::SlowPathStatus& slow_path = view.status().slow_path;
    json slow = json::object();
    report(slow, slow_path.counters, lib::slow_path_counters);
    json port = json::object();
    report(port, slow_path.port, lib::port_counters);
    json hops = json::array();
    for (const lib::Counter& hop :
         std::span(slow_path.next_hops).first(command.value("next_hops", std::size_t{2}))) {
        const auto mac = lib::next_hop_mac(load(hop));
        hops.push_back(mac ? lib::to_string(*mac) : std::string{});
    }
    for (std::size_t slot = 0; slot < lib::max_sas; ++slot) {
        report(sas[std::to_string(slot)], slow_path.sas[slot], lib::sa_counters);
    }
    result.update({{"slow", slow},
                   {"slow_port", port},
                   {"next_hops", hops},
                   {"slow_heartbeat", load(slow_path.heartbeat)}});
    json taps = json::object();
    for (const std::size_t slot : command.value("taps", json::array())) {
        json& tap = taps[std::to_string(slot)] = json::object();
        for (std::size_t worker = 0; worker < view.shape().worker_count; ++worker) {
            report(tap, view.taps(worker)[slot], lib::tap_counters);
            report(tap, view.losses(worker)[slot]);
        }
    }
    result.update({{"ports", ports},
                   {"total", total},
                   {"workers", workers},
                   {"sa", sas},
                   {"destinations", destinations},
                   {"tap", taps}});
    return result;
}

const char* name_of(lib::CompletionKind kind) {
    switch (kind) {
        case lib::CompletionKind::lease_low:
            return "lease_low";
        case lib::CompletionKind::port_lost:
            return "port_lost";
        case lib::CompletionKind::tap_over:
            return "tap_over";
        default:
            return "unknown";
    }
}

json events(LinkSession& session) {
    json list = json::array();
    for (const lib::CompletionRecord& record : session.take_events()) {
        list.push_back({{"kind", name_of(record.kind)}, {"slot", record.slot}, {"id", record.id}});
    }
    return {{"events", list}};
}

json obey(LinkSession& session, const json& command) {
    const std::string what = command.at("do");
    if (what == "commit") {
        return commit(session);
    }
    if (what == "counters") {
        return counters(session, command);
    }
    if (what == "events") {
        return events(session);
    }
    if (what == "resync") {
        session.batch().resync_begin();
    } else if (what == "tap") {
        add_tap(session, command);
    } else if (what == "fill") {
        fill(session, command);
    } else if (what == "update") {
        session.batch().update_tap(lib::TapSlot{command.at("slot")}, lib::TapId{command.at("id")},
                                   service(command));
    } else if (what == "remove") {
        session.batch().remove_tap(lib::TapSlot{command.at("slot")}, lib::TapId{command.at("id")});
    } else if (what == "sa") {
        add_sa(session, command);
    } else if (what == "lease") {
        session.batch().extend_lease(lib::SaSlot{command.at("slot")}, command.at("id"),
                                     {command.at("first"), command.at("count")});
    } else if (what == "remove_sa") {
        session.batch().remove_sa(lib::SaSlot{command.at("slot")}, command.at("id"));
    } else {
        throw std::runtime_error("unknown command " + what);
    }
    return {{"staged", what}};
}

/// A line from standard input; the session is served meanwhile. False at its end.
bool read_line(LinkSession& session, std::string& buffer, std::string& line) {
    for (;;) {
        if (const auto end = buffer.find('\n'); end != std::string::npos) {
            line = buffer.substr(0, end);
            buffer.erase(0, end + 1);
            return true;
        }
        session.serve(milliseconds(1000), STDIN_FILENO);
        std::array<char, 4096> chunk;
        pollfd ready{STDIN_FILENO, POLLIN, 0};
        if (poll(&ready, 1, 0) > 0) {
            const ssize_t size = read(STDIN_FILENO, chunk.data(), chunk.size());
            if (size <= 0) {
                return false;
            }
            buffer.append(chunk.data(), static_cast<std::size_t>(size));
        }
    }
}

int run(const char* file) {
    const auto config = lib::load_config(file);
    if (!config) {
        for (const lib::ConfigError& error : config.error()) {
            fmt::print(stderr, "{}\n", lib::to_string(error));
        }
        return 2;
    }
    LinkSession session(*config, milliseconds(600'000));
    std::string buffer;
    std::string line;
    while (read_line(session, buffer, line)) {
        fmt::print("{}\n", obey(session, json::parse(line)).dump());
        std::fflush(stdout);
    }
    return 0;
}

}  // namespace

int main(int argc, char* argv[]) {
    if (argc != 2) {
        fmt::print(stderr, "usage: link-driver CONFIG < COMMANDS\n");
        return 2;
    }
    try {
        return run(argv[1]);
    } catch (const std::exception& error) {
        fmt::print(stderr, "link-driver: {}\n", error.what());
        return 1;
    }
}
