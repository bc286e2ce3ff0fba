#include "tools/receive/report.h"

#include "lib/address.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

namespace flowtap::tools::receive {
namespace {

/// Gaps that a person gets to see; JSON has them all.
constexpr std::size_t most_gaps_shown = 20;

std::vector<std::pair<lib::CounterInfo, std::uint64_t>> refusals(const Statistics& statistics) {
    std::vector<std::pair<lib::CounterInfo, std::uint64_t>> found;
    for (std::size_t i = 0; i < crypto::open_verdicts.size(); ++i) {
        if (statistics.refused_by_esp[i] != 0) {
            found.emplace_back(crypto::open_verdicts[i], statistics.refused_by_esp[i]);
        }
    }
    for (std::size_t i = 0; i < causes.size(); ++i) {
        if (statistics.refused_otherwise[i] != 0) {
            found.emplace_back(causes[i], statistics.refused_otherwise[i]);
        }
    }
    return found;
}

std::string text_of(const Range& range) {
    return range.first == range.last ? fmt::format("{}", range.first)
                                     : fmt::format("{}..{}", range.first, range.last);
}

std::string text_of(const Destination& destination) {
    const auto& [address, port] = destination;
    const bool ipv6 = address.family == lib::Family::ipv6;
    return fmt::format("{}{}{}:{}", ipv6 ? "[" : "", lib::to_string(address), ipv6 ? "]" : "", port);
}

nlohmann::json json_of(const std::vector<Range>& ranges) {
    auto all = nlohmann::json::array();
    for (const Range& range : ranges) {
        all.push_back({{"first", range.first}, {"last", range.last}, {"count", range.size()}});
    }
    return all;
}

nlohmann::json json_of(const TapKey& key, const TapTally& tap) {
    nlohmann::json object = {{"address", lib::to_string(key.destination.first)},
                             {"port", key.destination.second},
                             {"shim", name_of(key.shim)},
                             {"id", key.id},
                             {"session", key.session},
                             {"packets", tap.copies.packets},
                             {"bytes", tap.copies.bytes},
                             {"to_target", tap.to_target},
                             {"from_target", tap.from_target}};
    if (key.shim == lib::Shim::flowtap) {
        const auto totals = tap.ledger.totals();
        object.update({{"truncated", tap.truncated},
                       {"fragments", tap.fragments},
                       {"seen", json_of(tap.ledger.seen())},
                       {"gaps", json_of(tap.ledger.gaps())},
                       {"expected", totals.expected},
                       {"received", totals.received},
                       {"reported_dropped", totals.reported},
                       {"missing", totals.missing},
                       {"duplicates", totals.duplicates},
                       {"before_first", totals.before_first},
                       {"sender_dropped", totals.sender_dropped}});
    }
    return object;
}

std::string text_of(const TapKey& key, const TapTally& tap) {
    std::string text = fmt::format("tap {} {:#x}{} to {}  {} packets, {} bytes\n", name_of(key.shim), key.id,
                                   key.session != 0 ? fmt::format(" session {:#x}", key.session) : "",
                                   text_of(key.destination), tap.copies.packets, tap.copies.bytes);
    if (key.shim == lib::Shim::flowtap) {
        const auto totals = tap.ledger.totals();
        text += fmt::format("  expected {} = received {} + lost by the sender {} + missing {}",
                            totals.expected, totals.received, totals.reported, totals.missing);
        text += totals.duplicates != 0 ? fmt::format("; {} seen twice\n", totals.duplicates) : "\n";
    }
    return text;
}

}  // namespace

std::string text_report(const Statistics& statistics, std::uint64_t dropped) {
    std::string text;
    const auto line = [&]<typename... Arguments>(fmt::format_string<Arguments...> format,
                                                 Arguments&&... arguments) {
        fmt::format_to(std::back_inserter(text), format, std::forward<Arguments>(arguments)...);
        text += '\n';
    };
    line("ESP packets       {:>12}", statistics.esp_packets);
    line("copies            {:>12}  {} bytes", statistics.copies.packets, statistics.copies.bytes);
    if (statistics.dummies != 0) {
        line("dummies           {:>12}", statistics.dummies);
    }
    line("refused           {:>12}", statistics.refused());
    for (const auto& [info, count] : refusals(statistics)) {
        line("  {:<22} {:>5}  {}", info.name, count, info.description);
    }
    line("other frames      {:>12}", statistics.other_frames);
    if (dropped != 0) {
        line("dropped by kernel {:>12}  frames that this process was too slow for", dropped);
    }
    for (const auto& [destination, tally] : statistics.destinations) {
        line("to {}  {} packets, {} bytes", text_of(destination), tally.packets, tally.bytes);
    }
    for (const auto& [key, tap] : statistics.taps) {
        text += text_of(key, tap);
    }
    if (statistics.whole_frames != 0) {
        line("whole frames      {:>12}  counted, and not written", statistics.whole_frames);
    }
    for (const Range& range : statistics.sequence.seen()) {
        line("sequence numbers {}", text_of(range));
    }
    const auto gaps = statistics.sequence.gaps();
    line("missing           {:>12}  in {} gaps", statistics.sequence.missing(), gaps.size());
    for (std::size_t i = 0; i < gaps.size() && i < most_gaps_shown; ++i) {
        line("  {}", text_of(gaps[i]));
    }
    if (gaps.size() > most_gaps_shown) {
        line("  and {} more gaps (--json has all)", gaps.size() - most_gaps_shown);
    }
    if (statistics.sequence.duplicates() != 0) {
        line("seen twice        {:>12}", statistics.sequence.duplicates());
    }
    return text;
}

std::string json_report(const Statistics& statistics, std::uint64_t dropped,
                        std::optional<std::int64_t> time) {
    auto refused_by = nlohmann::json::object();
    for (const auto& [info, count] : refusals(statistics)) {
        refused_by[std::string(info.name)] = count;
    }
    auto destinations = nlohmann::json::array();
    for (const auto& [destination, tally] : statistics.destinations) {
        destinations.push_back({{"address", lib::to_string(destination.first)},
                                {"port", destination.second},
                                {"packets", tally.packets},
                                {"bytes", tally.bytes}});
    }
    auto seen = nlohmann::json::array();
    for (const Range& range : statistics.sequence.seen()) {
        seen.push_back({{"first", range.first}, {"last", range.last}});
    }
    auto taps = nlohmann::json::array();
    for (const auto& [key, tap] : statistics.taps) {
        taps.push_back(json_of(key, tap));
    }
    nlohmann::json report = {{"esp_packets", statistics.esp_packets},
                             {"copies", statistics.copies.packets},
                             {"bytes", statistics.copies.bytes},
                             {"dummies", statistics.dummies},
                             {"refused", statistics.refused()},
                             {"refused_by", refused_by},
                             {"frames_other", statistics.other_frames},
                             {"destinations", destinations},
                             {"taps", taps},
                             {"whole_frames", statistics.whole_frames},
                             {"sequence",
                              {{"seen", seen},
                               {"missing", statistics.sequence.missing()},
                               {"duplicates", statistics.sequence.duplicates()},
                               {"gaps", json_of(statistics.sequence.gaps())}}},
                             {"capture_dropped", dropped}};
    if (time) {
        report["time"] = static_cast<double>(*time) / 1e9;
    }
    return report.dump() + '\n';
}

}  // namespace flowtap::tools::receive
