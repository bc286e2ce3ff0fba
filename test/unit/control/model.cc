#include "test/unit/control/model.h"

#include "test/unit/control/model_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace flowtap::test::model {

namespace {

/// Counters are read in turn, each once a second: so much later at most a packet is noticed, or its absence.
constexpr std::uint64_t look = 1'200'000'000;

constexpr std::array timeouts{"TIMEOUT-IDLE", "TIMEOUT-TOTAL", "TIMEOUT-PACKETS", "TIMEOUT-BYTES"};

std::uint64_t sum(std::uint64_t left, std::uint64_t right) {
    return right > UINT64_MAX - left ? UINT64_MAX : left + right;
}

std::uint64_t get(const std::map<std::string, std::uint64_t>& numbers, const std::string& name) {
    const auto found = numbers.find(name);
    return found == numbers.end() ? 0 : found->second;
}

/// The answer's version: the request's own, or the nearest.
std::string version_of(const Ask& ask) {
    return fmt::format("DTCP/0.{}", ask.major > 0 ? 8 : std::clamp(ask.minor, 5, 8));
}

bool needs_dataplane(const Ask& ask) {
    return ask.verb != Verb::list && ask.verb != Verb::noop;
}

/// TIMESTAMP is the last line, and says when.
bool timely(const Reply& reply, const Latitude& latitude, Moment now) {
    const auto time = reply.value("TIMESTAMP");
    return time && *time >= time_text(now.utc) && *time <= time_text(std::max(now.utc, latitude.until));
}

bool is_refused(const Reply& reply, const Ask& ask, const Blames& blames) {
    auto rest = reply.lines;
    if (ask.seq) {
        if (rest.empty() || rest.front() != fmt::format("SEQ: {}", *ask.seq)) {
            return false;
        }
        rest.erase(rest.begin());
    }
    if (rest.empty() || !rest.back().starts_with("TIMESTAMP: ")) {
        return false;
    }
    rest.pop_back();
    return std::ranges::any_of(blames, [&](const Blame& blame) {
        const bool bare = rest.empty() && (blame.may_be_bare || blame.lines.empty());
        const bool named =
            rest.size() == 1 && std::ranges::find(blame.lines, rest.front()) != blame.lines.end();
        return reply.code == blame.code && (bare || named);
    });
}

}  // namespace

bool Model::silent(const Ask& ask, Talk& talk) {
    if (ask.source < 0 || !ask.authentic) {
        return true;
    }
    const auto& source = setup().sources[static_cast<std::size_t>(ask.source)];
    if (std::ranges::find(source.users, ask.user) == source.users.end()) {
        return true;
    }
    if (!source.in_sequence) {
        return false;
    }
    if (!ask.seq) {
        return true;
    }
    const auto [last, first] = talk.emplace(ask.source, *ask.seq);
    if (!first && (*ask.seq <= last->second || *ask.seq - last->second > 256)) {
        return true;
    }
    last->second = *ask.seq;
    return false;
}

std::vector<std::uint64_t> Model::of(int source) const {
    std::vector<std::uint64_t> ids;
    for (const auto& [id, tap] : taps_) {
        if (tap.text->source == source) {
            ids.push_back(id);
        }
    }
    return ids;
}

bool Model::step(const Ask& ask, const Reply* reply, const Latitude& latitude, Moment now,
                 const std::string& client, std::string& why) {
    const auto blames = judge(ask);
    if (reply != nullptr && (reply->version != version_of(ask) || !timely(*reply, latitude, now))) {
        why = "version or time of the answer";
        return false;
    }
    Blames for_want_of_room;
    if (ask.verb == Verb::add && latitude.may_be_full) {
        for_want_of_room.push_back({.code = 550, .may_be_bare = true});
        for_want_of_room.push_back(
            {551, ask.has("CDEST-ID") ? std::vector{ask.text_of("CDEST-ID")} : std::vector<std::string>{},
             true});
    } else if (ask.verb == Verb::add) {
        const auto others = std::max<std::size_t>(latitude.adds, 1) - 1;
        const auto cdests = std::max(latitude.cdests, ask.cdests.size()) - ask.cdests.size();
        for_want_of_room = judge_room(ask, others, cdests);
        if (latitude.before != nullptr) {
            std::ranges::move(latitude.before->judge_room(ask, others, cdests),
                              std::back_inserter(for_want_of_room));
        }
    }
    if (!blames.empty()) {
        const bool full = reply != nullptr && is_refused(*reply, ask, for_want_of_room);
        if (reply != nullptr && !full && !is_refused(*reply, ask, blames)) {
            why = "it deserves";
            for (const auto& blame : blames) {
                why += fmt::format(" {}", blame.code);
                for (const auto& line : blame.lines) {
                    why += fmt::format(" [{}]", line);
                }
            }
            return false;
        }
        return true;
    }
    const bool nothing_to_do = ask.verb != Verb::add && changed(ask).empty();
    if (reply != nullptr && reply->code != 200) {
        const bool may_fail = ask.verb == Verb::remove ? latitude.no_removals : latitude.may_fail;
        const bool failed =
            may_fail && needs_dataplane(ask) && !nothing_to_do && is_refused(*reply, ask, {{.code = 500}});
        const bool full = is_refused(*reply, ask, for_want_of_room);
        why = "it deserves 200";
        return failed || full;
    }
    if (reply != nullptr && ((latitude.no_additions && ask.verb == Verb::add) ||
                             (latitude.no_removals && ask.verb == Verb::remove && !nothing_to_do))) {
        why = "done without a dataplane that does it";
        return false;
    }
    if (reply != nullptr && reply->reason != "OK") {
        why = "200 is OK";
        return false;
    }
    const auto head = fmt::format("SEQ: {}", *ask.seq);
    const auto tail = [&] { return "TIMESTAMP: " + reply->value("TIMESTAMP").value_or(""); };
    switch (ask.verb) {
        case Verb::add:
            return add(ask, reply, now, client, why);
        case Verb::list:
            return reply == nullptr || matches_list(ask, *reply, now, why);
        case Verb::noop:
            why = "NOOP has no more to say";
            return reply == nullptr || reply->lines == std::vector{head, tail()};
        default:
            break;
    }
    const auto ids = changed(ask);
    if (reply != nullptr &&
        reply->lines != std::vector{head, fmt::format("CRITERIA-COUNT: {}", ids.size()), tail()}) {
        why = fmt::format("it concerns {} criteria", ids.size());
        return false;
    }
    change(ask, ids, now);
    return true;
}

bool Model::add(const Ask& ask, const Reply* reply, Moment now, const std::string& client, std::string& why) {
    ModelTap tap;
    tap.text = std::make_shared<const TapText>(text_of(ask, now, client));
    if (!tap.text->is_static) {
        for (const auto* const name : timeouts) {
            if (const auto number = get(ask.numbers, name); number != 0) {
                tap.specified[name] = number;
            }
        }
    }
    tap.total_from = tap.idle_from = now.boot;
    tap.packets_end = get(tap.specified, "TIMEOUT-PACKETS");
    tap.bytes_end = get(tap.specified, "TIMEOUT-BYTES");
    auto id = next_unnamed_;
    if (reply == nullptr) {
        ++next_unnamed_;
    } else {
        id = reply->number("CRITERIA-ID").value_or(0);
        if (id == 0 || id >= unnamed || !names_.insert(id).second) {
            why = "no Criteria-ID, or one that was given before";
            return false;
        }
        if (reply->lines != std::vector{fmt::format("SEQ: {}", *ask.seq), fmt::format("CRITERIA-ID: {}", id),
                                        "TIMESTAMP: " + reply->value("TIMESTAMP").value_or("")}) {
            why = "the lines of an ADD's answer";
            return false;
        }
    }
    taps_.emplace(id, std::move(tap));
    return true;
}

std::vector<std::uint64_t> Model::chosen(const Ask& ask, bool& unknown) const {
    std::vector<std::uint64_t> ids;
    const auto mine = of(ask.source);
    if (ask.has("CDEST-ID")) {
        for (const auto id : mine) {
            const auto& cdests = taps_.at(id).text->cdests;
            if (std::ranges::find(cdests, ask.cdests.front()) != cdests.end()) {
                ids.push_back(id);
            }
        }
        return ids;
    }
    for (const auto& span : ask.ids) {
        unknown = unknown || (span.alone && !span.negated &&
                              std::ranges::find(mine, static_cast<std::uint64_t>(span.first)) == mine.end());
    }
    const auto set = selected(ask.ids, UINT64_MAX);
    for (const auto id : mine) {
        if (holds(set, id)) {
            ids.push_back(id);
        }
    }
    return ids;
}

std::vector<std::uint64_t> Model::changed(const Ask& ask) const {
    bool unknown = false;
    auto ids = chosen(ask, unknown);
    const bool including_static = ask.verb != Verb::refresh && ask.static_flag;
    std::erase_if(ids, [&](std::uint64_t id) { return taps_.at(id).text->is_static && !including_static; });
    return ids;
}

void Model::change(const Ask& ask, const std::vector<std::uint64_t>& ids, Moment now) {
    for (const auto id : ids) {
        auto& tap = taps_.at(id);
        switch (ask.verb) {
            case Verb::remove:
                end(id, {"removed"});
                break;
            case Verb::refresh:
                refresh(tap, ask, now);
                break;
            case Verb::enable:
                tap.policies.insert(ask.words.at("X-DROP-POLICY").front());
                break;
            case Verb::disable:
                tap.policies.erase(ask.words.at("X-DROP-POLICY").front());
                break;
            default:
                break;
        }
    }
}

void Model::refresh(ModelTap& tap, const Ask& ask, Moment now) const {
    for (const auto* const name : timeouts) {
        const auto given = ask.numbers.find(name);
        if (given == ask.numbers.end()) {
            continue;
        }
        if (given->second == 0) {
            tap.specified.erase(name);
        } else {
            tap.specified[name] = given->second;
        }
        const std::string_view which = name;
        if (which == "TIMEOUT-IDLE") {
            tap.idle_from = now.boot;
        } else if (which == "TIMEOUT-TOTAL") {
            tap.total_from = now.boot;
        } else if (which == "TIMEOUT-PACKETS") {
            tap.packets_end = given->second == 0 ? 0 : sum(tap.packets, given->second);
        } else {
            tap.bytes_end = given->second == 0 ? 0 : sum(tap.bytes, given->second);
        }
    }
    ++tap.refreshes;
    tap.refreshed_utc = now.utc;
}

void Model::end(std::uint64_t id, std::set<std::string> reasons) {
    ended_.push_back({id, std::move(reasons)});
    taps_.erase(id);
}

/// Packets that must have been noticed by now.
void Model::notice(ModelTap& tap, std::uint64_t now) const {
    std::erase_if(tap.unnoticed, [&](std::uint64_t packet) {
        const auto latest = std::max(packet, reading_since_) + look;
        if (latest > now) {
            return false;
        }
        tap.active_first = std::max(tap.active_first, packet);
        tap.active_last = std::max(tap.active_last, latest);
        return true;
    });
}

/// From when on the tap may count as idle: the first and the last possible.
std::pair<std::uint64_t, std::uint64_t> Model::active(const ModelTap& tap, std::uint64_t now) const {
    auto first = std::max(tap.active_first, tap.idle_from);
    auto last = std::max(tap.active_last, tap.idle_from);
    for (const auto packet : tap.unnoticed) {
        first = std::max(first, packet);
        last = std::max(last, std::max(packet, reading_since_) + look);
    }
    return {first, std::max(first, std::min(last, now))};
}

void Model::pass(Moment now) {
    std::vector<std::pair<std::uint64_t, std::set<std::string>>> over;
    for (auto& [id, tap] : taps_) {
        notice(tap, now.boot);
        const auto idle = get(tap.specified, "TIMEOUT-IDLE") * second;
        const auto total = get(tap.specified, "TIMEOUT-TOTAL") * second;
        const auto [first, last] = active(tap, now.boot);
        std::set<std::string> reasons;
        if (total != 0 && tap.total_from + total <= now.boot) {
            reasons.insert("total");
            if (idle != 0 && first + idle <= now.boot) {
                reasons.insert("idle");
            }
        } else if (idle != 0 && up_ && last + idle <= now.boot &&
                   std::max(last + idle, up_since_) + look <= now.boot) {
            reasons.insert("idle");
        }
        if (!reasons.empty()) {
            over.emplace_back(id, std::move(reasons));
        }
    }
    for (auto& [id, reasons] : over) {
        end(id, std::move(reasons));
    }
}

std::vector<std::uint64_t> Model::perhaps_idle(Moment now) const {
    std::vector<std::uint64_t> ids;
    for (const auto& [id, tap] : taps_) {
        const auto idle = get(tap.specified, "TIMEOUT-IDLE") * second;
        if (idle != 0 && up_ && active(tap, now.boot).first + idle <= now.boot) {
            ids.push_back(id);
        }
    }
    return ids;
}

void Model::found_idle(std::uint64_t id) {
    end(id, {"idle"});
}

void Model::count(std::uint64_t id, std::uint64_t packets, std::uint64_t size, Moment now) {
    auto& tap = taps_.at(id);
    std::set<std::string> reasons;
    for (; packets != 0 && reasons.empty(); --packets) {
        if (tap.bytes_end != 0 && tap.bytes + size > tap.bytes_end) {
            reasons.insert("bytes");
            break;
        }
        tap.packets += 1;
        tap.life_packets += 1;
        tap.bytes += size;
        tap.life_bytes += size;
        tap.carried.emplace_back(now.boot, size);
        if (tap.unnoticed.empty() || tap.unnoticed.back() != now.boot) {
            tap.unnoticed.push_back(now.boot);
        }
        if (tap.packets_end != 0 && tap.packets >= tap.packets_end) {
            reasons.insert("packets");
        }
        if (tap.bytes_end != 0 && tap.bytes >= tap.bytes_end) {
            reasons.insert("bytes");
        }
    }
    std::erase_if(tap.carried, [&](const auto& part) { return part.first + 30 * second < now.boot; });
    if (!reasons.empty()) {
        end(id, std::move(reasons));
    }
}

void Model::dataplane_died(Moment now) {
    up_ = false;
    for (auto& [id, tap] : taps_) {
        // Its counters are read for the last time.
        for (const auto packet : std::exchange(tap.unnoticed, {})) {
            tap.active_first = std::max(tap.active_first, packet);
            tap.active_last = std::max(tap.active_last, now.boot);
        }
        tap.life_packets = tap.life_bytes = 0;
    }
}

void Model::dataplane_started(Moment now) {
    up_ = true;
    up_since_ = reading_since_ = metered_since_ = now.boot;
}

void Model::control_restarted(Moment now) {
    reading_since_ = metered_since_ = now.boot;
}

void Model::everything_lost(Moment now) {
    taps_.clear();
    ended_.clear();
    dataplane_started(now);
}

}  // namespace flowtap::test::model
