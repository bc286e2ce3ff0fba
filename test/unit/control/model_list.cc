// What LIST must show (dtcp.md section 8), and what an answer that was lost has done.
#include "test/unit/control/model.h"
#include "test/unit/control/model_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace flowtap::test::model {

namespace {

constexpr std::string_view id_line = "CRITERIA-ID: ";

std::uint64_t rounded_up(std::uint64_t end, std::uint64_t now) {
    return end <= now ? 0 : (end - now + second - 1) / second;
}

/// Where the entries of a LIST begin, by their IDs.
std::vector<std::pair<std::uint64_t, std::size_t>> entries_of(const Reply& reply) {
    std::vector<std::pair<std::uint64_t, std::size_t>> entries;
    for (std::size_t i = 0; i < reply.lines.size(); ++i) {
        if (reply.lines[i].starts_with(id_line)) {
            entries.emplace_back(std::stoull(reply.lines[i].substr(id_line.size())), i);
        }
    }
    return entries;
}

bool take(const std::vector<std::string>& lines, std::size_t& at, const std::string& line, std::string& why) {
    if (at < lines.size() && lines[at] == line) {
        ++at;
        return true;
    }
    why = fmt::format("LIST: \"{}\" instead of \"{}\"", at < lines.size() ? lines[at] : "(the end)", line);
    return false;
}

/// A number between the two.
template <typename Fits>
bool take_number(const std::vector<std::string>& lines, std::size_t& at, std::string_view name, Fits fits,
                 std::string& why) {
    std::uint64_t value = 0;
    if (at < lines.size() && lines[at].starts_with(name) && lines[at].substr(name.size()).starts_with(": ")) {
        const auto digits = lines[at].substr(name.size() + 2);
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error == std::errc{} && end == digits.data() + digits.size() && fits(value)) {
            ++at;
            return true;
        }
    }
    why = fmt::format("LIST: \"{}\" is no good {}", at < lines.size() ? lines[at] : "(the end)", name);
    return false;
}

}  // namespace

bool Model::bandwidth_fits(const ModelTap& tap, std::uint64_t value, Moment now) const {
    const auto carried_since = [&](std::uint64_t age) {
        std::uint64_t bytes = 0;
        for (const auto& [when, size] : tap.carried) {
            bytes += when + age >= now.boot ? size : 0;
        }
        return static_cast<double>(bytes) * 8;
    };
    // Readings are a second apart: the window may begin so much earlier, and with what was carried since.
    const auto life = static_cast<double>(std::min(now.boot - tap.text->added_boot, 10 * second)) / 1e9;
    const double most = carried_since(12 * second) / std::max(life, 1e-9);
    const bool known = up_ && metered_since_ + 25 * second <= now.boot;
    const double least = known ? carried_since(9 * second) / 13 : 0;
    const auto real = static_cast<double>(value);
    return real <= most + 1 && real + 1 >= least;
}

bool Model::matches_statistics(const ModelTap& tap, Moment now, const std::vector<std::string>& lines,
                               std::size_t& at, std::string& why) const {
    const auto given = [&](const char* name) {
        const auto found = tap.specified.find(name);
        return found == tap.specified.end() ? std::nullopt : std::optional{found->second};
    };
    if (const auto idle = given("TIMEOUT-IDLE")) {
        auto [first, last] = active(tap, now.boot);
        last = tap.unnoticed.empty() ? last : now.boot;
        const auto least = rounded_up(first + *idle * second, now.boot);
        const auto most = rounded_up(last + *idle * second, now.boot);
        const auto fits = [&](std::uint64_t value) { return least <= value && value <= most; };
        if (!take_number(lines, at, "REMAINING-IDLE", fits, why)) {
            return false;
        }
    }
    if (const auto total = given("TIMEOUT-TOTAL")) {
        const auto left = rounded_up(tap.total_from + *total * second, now.boot);
        if (!take(lines, at, fmt::format("REMAINING-TOTAL: {}", left), why)) {
            return false;
        }
    }
    if (given("TIMEOUT-PACKETS") &&
        !take(lines, at, fmt::format("REMAINING-PACKETS: {}", tap.packets_end - tap.packets), why)) {
        return false;
    }
    if (given("TIMEOUT-BYTES") &&
        !take(lines, at, fmt::format("REMAINING-BYTES: {}", tap.bytes_end - tap.bytes), why)) {
        return false;
    }
    const auto refreshed = tap.refreshes == 0 ? tap.text->added_utc : tap.refreshed_utc;
    return take_number(
               lines, at, "AVERAGE-BANDWIDTH",
               [&](std::uint64_t value) { return bandwidth_fits(tap, value, now); }, why) &&
           take(lines, at, fmt::format("MATCHING-PACKETS: {}", tap.packets), why) &&
           take(lines, at, fmt::format("MATCHING-BYTES: {}", tap.bytes), why) &&
           take(lines, at, fmt::format("NUM-REFRESH: {}", tap.refreshes), why) &&
           take(lines, at, "LAST-REFRESH: " + time_text(refreshed), why);
}

bool Model::matches_entry(std::uint64_t id, const ModelTap& tap, bool criteria, bool statistics, Moment now,
                          const std::vector<std::string>& lines, std::size_t& at, std::string& why) const {
    std::vector<std::string> wanted{
        fmt::format("CRITERIA-ID: {}", id),
        "CSOURCE-ID: " + setup().sources[static_cast<std::size_t>(tap.text->source)].name,
        "CDEST-ID: " + tap.text->cdest_line, "CSOURCE-ADDRESS: " + tap.text->client,
        "TIMESTAMP: " + time_text(tap.text->added_utc)};
    if (criteria) {
        wanted.insert(wanted.end(), tap.text->filter_lines.begin(), tap.text->filter_lines.end());
        for (const auto* const name : {"TIMEOUT-IDLE", "TIMEOUT-TOTAL", "TIMEOUT-PACKETS", "TIMEOUT-BYTES"}) {
            if (const auto found = tap.specified.find(name); found != tap.specified.end()) {
                wanted.push_back(fmt::format("{}: {}", name, found->second));
            }
        }
        wanted.insert(wanted.end(), tap.text->other_lines.begin(), tap.text->other_lines.end());
    }
    return std::ranges::all_of(wanted, [&](const auto& line) { return take(lines, at, line, why); }) &&
           (!statistics || matches_statistics(tap, now, lines, at, why));
}

bool Model::matches_list(const Ask& ask, const Reply& reply, Moment now, std::string& why) const {
    bool unknown = false;
    const auto ids = ask.has("CRITERIA-ID") || ask.has("CDEST-ID") ? chosen(ask, unknown) : of(ask.source);
    const bool both = ask.both_flag || (!ask.criteria_flag && !ask.stats_flag);
    const bool numbered = ask.minor > 5;
    std::size_t at = 0;
    if (!take(reply.lines, at, fmt::format("SEQ: {}", *ask.seq), why) ||
        !take(reply.lines, at, "TIMESTAMP: " + time_text(now.utc), why)) {
        return false;
    }
    std::size_t number = 0;
    for (const auto id : ids) {
        ++number;
        if (!matches_entry(id, taps_.at(id), both || ask.criteria_flag, both || ask.stats_flag, now,
                           reply.lines, at, why) ||
            (numbered && (!take(reply.lines, at, fmt::format("CRITERIA-NUM: {}", number), why) ||
                          !take(reply.lines, at, fmt::format("CRITERIA-COUNT: {}", ids.size()), why)))) {
            return false;
        }
    }
    if (!numbered && !take(reply.lines, at, fmt::format("NUM-CRITERIA: {}", ids.size()), why)) {
        return false;
    }
    why = "LIST: more than there should be";
    return at == reply.lines.size();
}

bool Model::check_list(int source, const Reply& reply, Moment now, std::string& why) const {
    Ask ask;
    ask.verb = Verb::list;
    ask.source = source;
    ask.seq = 1;
    return reply.code == 200 && matches_list(ask, reply, now, why);
}

bool Model::name_the_unnamed(const std::vector<Reply>& lists, Moment now, std::string& why) {
    for (auto place = taps_.lower_bound(unnamed); place != taps_.end();) {
        const auto tap = place->second;
        place = taps_.erase(place);
        const auto& list = lists[static_cast<std::size_t>(tap.text->source)];
        bool named = false;
        for (auto [id, at] : entries_of(list)) {
            if (!named && !names_.contains(id) &&
                matches_entry(id, tap, true, true, now, list.lines, at, why)) {
                names_.insert(id);
                taps_.emplace(id, tap);
                named = true;
            }
        }
        if (!named) {
            why = "an ADD that was done is not listed: " + why;
            return false;
        }
    }
    return true;
}

}  // namespace flowtap::test::model
