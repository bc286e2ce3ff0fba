#include "tools/flowtapctl/tables.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace flowtap::tools {

namespace {

using nlohmann::json;

/// Columns as wide as their longest cell; the first to the left, numbers to the right.
class Table {
  public:
    explicit Table(std::vector<std::string> head) : rows_{std::move(head)} {}
    Table() = default;

    void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

    std::string text() const {
        std::vector<std::size_t> widths;
        for (const auto& row : rows_) {
            widths.resize(std::max(widths.size(), row.size()));
            for (std::size_t i = 0; i < row.size(); ++i) {
                widths[i] = std::max(widths[i], row[i].size());
            }
        }
        std::string text;
        for (const auto& row : rows_) {
            std::string line;
            for (std::size_t i = 0; i < row.size(); ++i) {
                const bool number =
                    !row[i].empty() && row[i].find_first_not_of("0123456789,.%") == std::string::npos;
                line += i == 0   ? fmt::format("{:<{}}", row[i], widths[i])
                        : number ? fmt::format("  {:>{}}", row[i], widths[i])
                                 : fmt::format("  {:<{}}", row[i], widths[i]);
            }
            line.erase(line.find_last_not_of(' ') + 1);
            text += line + "\n";
        }
        return text;
    }

  private:
    std::vector<std::vector<std::string>> rows_;
};

std::string cell(const json& value) {
    if (value.is_number_unsigned()) {
        return thousands(value.get<std::uint64_t>());
    }
    if (value.is_number()) {
        return fmt::format("{:.1f}", value.get<double>());
    }
    if (value.is_boolean()) {
        return value.get<bool>() ? "yes" : "no";
    }
    return value.is_string() ? value.get<std::string>() : value.dump();
}

json member(const json& object, const char* key) {
    return object.is_object() && object.contains(key) ? object.at(key) : json{};
}

std::string named(const json& object, const char* key) {
    const auto value = member(object, key);
    return value.is_null() ? "-" : cell(value);
}

/// One row a member that is a value; times by the name's ending.
void members(Table& table, const json& object, const std::string& indent) {
    for (const auto& [key, value] : object.items()) {
        if (value.is_object() || value.is_array() || value == "") {
            continue;
        }
        constexpr std::string_view seconds = "-seconds";
        if (key.ends_with(seconds) && value.is_number_unsigned()) {
            table.row(
                {indent + key.substr(0, key.size() - seconds.size()), duration(value.get<std::uint64_t>())});
        } else if (key == "pid" || key == "core" || key == "spi") {
            table.row({indent + key, value.dump()});
        } else {
            table.row({indent + key, cell(value)});
        }
    }
}

std::string health(const json& view) {
    std::string text;
    for (const char* const process : {"control", "dataplane"}) {
        const auto state = member(view, process);
        Table table;
        members(table, state, "  ");
        members(table, member(state, "counters"), "  ");
        text += fmt::format("{}\n{}", process, table.text());
    }
    const auto alarms = member(view, "alarms");
    text += alarms.empty() ? "no alarms\n" : "alarms\n";
    for (const auto& alarm : alarms) {
        text += fmt::format("  {}\n", cell(alarm));
    }
    return text;
}

std::string ports(const json& view) {
    Table table{{"port", "use", "link", "Mbit/s", "rx frames", "rx bytes", "tx frames", "tx bytes",
                 "tx dropped", "redirected", "blocked", "rx missed", "rx no buffer", "tx failed"}};
    for (const auto& port : member(view, "ports")) {
        const auto counters = member(port, "counters");
        const auto driver = member(port, "driver");
        table.row({named(port, "name"), named(port, "use"), named(port, "link"), named(port, "mbps"),
                   named(counters, "rx-packets"), named(counters, "rx-bytes"), named(counters, "tx-packets"),
                   named(counters, "tx-bytes"), named(counters, "tx-dropped"),
                   named(counters, "redirected-frames"), named(counters, "blocked-frames"),
                   named(driver, "missed"), named(driver, "no-mbuf"), named(driver, "tx-failed")});
    }
    return table.text();
}

std::string workers(const json& view) {
    const auto list = member(view, "workers");
    if (list.empty()) {
        return "the dataplane is not connected\n";
    }
    std::vector<std::string> head{"worker"};
    std::vector<std::string> cores{"core"};
    std::vector<std::string> busy{"busy %"};
    for (const auto& worker : list) {
        head.push_back(named(worker, "worker"));
        cores.push_back(named(worker, "core"));
        busy.push_back(named(worker, "busy-percent"));
    }
    Table table{std::move(head)};
    table.row(std::move(cores));
    table.row(std::move(busy));
    const json counters = member(list.front(), "counters");
    for (const auto& [name, ignored] : counters.items()) {
        std::vector<std::string> row{name};
        for (const auto& worker : list) {
            row.push_back(named(member(worker, "counters"), name.c_str()));
        }
        table.row(std::move(row));
    }
    return table.text();
}

std::string delivery(const json& view) {
    Table tunnels{
        {"tunnel", "state", "SPI", "suite", "sealed packets", "sealed bytes", "lease left", "sequence left"}};
    std::string troubles;
    for (const auto& tunnel : member(view, "tunnels")) {
        const auto spi = member(tunnel, "spi");
        tunnels.row({named(tunnel, "name"), named(tunnel, "state"),
                     spi.is_number_unsigned() ? fmt::format("{:#x}", spi.get<std::uint64_t>()) : "-",
                     named(tunnel, "suite"), named(tunnel, "sealed-packets"), named(tunnel, "sealed-bytes"),
                     named(tunnel, "lease-remaining"), named(tunnel, "sequence-remaining")});
        if (const auto trouble = member(tunnel, "trouble"); trouble.is_string() && trouble != "") {
            troubles += fmt::format("{}: {}\n", named(tunnel, "name"), cell(trouble));
        }
    }
    Table associations{{"tunnel", "SPI", "suite", "state", "seconds left", "packets left", "bytes left"}};
    for (const auto& tunnel : member(view, "tunnels")) {
        for (const auto& association : member(tunnel, "security-associations")) {
            const auto left = member(association, "left");
            const auto spi = member(association, "spi");
            associations.row({named(tunnel, "name"),
                              spi.is_number_unsigned() ? fmt::format("{:#x}", spi.get<std::uint64_t>()) : "-",
                              named(association, "suite"), named(association, "state"),
                              named(left, "seconds"), named(left, "packets"), named(left, "bytes")});
        }
    }
    std::string slow_path;
    Table hops{{"next hop", "state", "MAC address"}};
    for (const auto& hop : member(view, "next-hops")) {
        hops.row({named(hop, "address"), named(hop, "state"), named(hop, "mac")});
    }
    if (!member(view, "next-hops").empty()) {
        Table kernel;
        members(kernel, member(view, "slow-path"), "");
        slow_path = fmt::format("\n{}\nkernel traffic\n{}", hops.text(), kernel.text());
    }
    Table destinations{{"destination", "address", "port", "owed", "sent", "lost", "causes"}};
    for (const auto& destination : member(view, "destinations")) {
        std::uint64_t sum = 0;
        std::string causes;
        const auto lost = member(destination, "lost");
        for (const auto& [cause, count] : lost.items()) {
            sum += count.get<std::uint64_t>();
            causes += fmt::format("{}{} {}", causes.empty() ? "" : ", ", cause, cell(count));
        }
        const auto port = member(destination, "port");
        destinations.row({named(destination, "name"), named(destination, "address"),
                          port.is_null() ? "-" : port.dump(), named(destination, "owed"),
                          named(destination, "sent"), thousands(sum), causes});
    }
    const auto copies = member(view, "copies");
    Table lost;
    members(lost, copies, "");
    members(lost, member(copies, "lost"), "  lost: ");
    return fmt::format("{}{}\nsecurity associations, in the order of their use\n{}{}\n{}\ncopies\n{}",
                       tunnels.text(), troubles, associations.text(), slow_path, destinations.text(),
                       lost.text());
}

}  // namespace

std::string thousands(std::uint64_t number) {
    auto text = fmt::format("{}", number);
    for (std::size_t place = text.size(); place > 3;) {
        place -= 3;
        text.insert(place, 1, ',');
    }
    return text;
}

std::string duration(std::uint64_t seconds) {
    const auto minutes = seconds / 60;
    const auto hours = minutes / 60;
    if (hours >= 24) {
        return fmt::format("{} d {} h", hours / 24, hours % 24);
    }
    if (hours > 0) {
        return fmt::format("{} h {} min", hours, minutes % 60);
    }
    return minutes > 0 ? fmt::format("{} min {} s", minutes, seconds % 60) : fmt::format("{} s", seconds);
}

std::string render(std::string_view view, const json& content) {
    if (view == "health") {
        return health(content);
    }
    if (view == "ports") {
        return ports(content);
    }
    return view == "workers" ? workers(content) : delivery(content);
}

}  // namespace flowtap::tools
