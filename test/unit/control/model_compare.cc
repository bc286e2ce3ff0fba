// Whether what was answered and what is seen can be what the model says.
#include "test/unit/control/model_run.h"
#include "test/unit/control/model_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace flowtap::test::model {

namespace {

bool changes_taps(Verb verb) {
    return verb != Verb::list && verb != Verb::noop && verb != Verb::other;
}

std::string together(const std::vector<std::string>& parts) {
    std::string text;
    for (const auto& part : parts) {
        text += text.empty() ? part : " & " + part;
    }
    return text;
}

}  // namespace

void Run::explain(const std::vector<Track>& tracks, Latitude latitude, Moment when, bool lossy) {
    const bool ambiguous = lossy || tracks.size() > 1;
    // An ADD takes its room when it is accepted, and is seen by other sessions when it is live.
    const auto before = model_;
    if (tracks.size() > 1) {
        latitude.before = &before;
        for (const auto& track : tracks) {
            for (const Ask& ask : track.asks) {
                latitude.adds += ask.verb == Verb::add ? 1 : 0;
                latitude.cdests += ask.verb == Verb::add ? ask.cdests.size() : 0;
            }
        }
    }
    const auto sight = ambiguous && when.boot == now().boot ? std::optional{look()} : std::nullopt;
    std::vector<std::size_t> at(tracks.size());
    why_.clear();
    const auto leaf = [&](Model& model) {
        if (sight && (!model.name_the_unnamed(sight->lists, now(), why_) || !agree(model, *sight, why_))) {
            return false;
        }
        model_ = model;
        return true;
    };
    if (!search(model_, tracks, at, latitude, when, lossy, leaf)) {
        differ(why_.empty() ? "a request was not answered" : why_);
    }
}

bool Run::search(const Model& model, const std::vector<Track>& tracks, std::vector<std::size_t>& at,
                 const Latitude& latitude, Moment when, bool lossy, const std::function<bool(Model&)>& leaf) {
    bool over = true;
    for (std::size_t i = 0; i < tracks.size(); ++i) {
        const auto& track = tracks[i];
        if (at[i] == track.asks.size()) {
            continue;
        }
        over = false;
        const auto& ask = track.asks[at[i]];
        const auto* const reply = at[i] < track.replies.size() ? &track.replies[at[i]] : nullptr;
        if (reply == nullptr && !lossy) {
            return false;
        }
        ++at[i];
        if (reply == nullptr && !changes_taps(ask.verb)) {
            const bool found = search(model, tracks, at, latitude, when, lossy, leaf);
            --at[i];
            return found;  // there is nothing to tell its place among the others by
        }
        auto next = model;
        const bool can_be = next.step(ask, reply, latitude, when, track.address, why_);
        const bool found = (can_be && search(next, tracks, at, latitude, when, lossy, leaf)) ||
                           (reply == nullptr && search(model, tracks, at, latitude, when, lossy, leaf));
        --at[i];
        if (found) {
            return true;
        }
    }
    auto done = model;
    return over && leaf(done);
}

// Comparing

bool Run::agree(const Model& model, const Sight& sight, std::string& why) const {
    for (std::size_t source = 0; source < sight.lists.size(); ++source) {
        if (!model.check_list(static_cast<int>(source), sight.lists[source], now(), why)) {
            why =
                fmt::format("source {}: {}\n{}", setup().sources[source].name, why, sight.lists[source].text);
            return false;
        }
    }
    if (!box_.is_up()) {
        return true;
    }
    if (!std::ranges::equal(
            model.taps(), sight.installed, {}, [](const auto& tap) { return tap.first; },
            [](const auto& tap) { return tap.first; })) {
        why = "other taps are installed";
        return false;
    }
    for (const auto& [id, tap] : model.taps()) {
        const auto& there = sight.installed.at(id);
        std::uint64_t suppressed = 0;
        for (std::size_t i = 0; i < setup().policies.size(); ++i) {
            suppressed |= std::uint64_t{tap.policies.contains(setup().policies[i])} << i;
        }
        const auto limit = [&](const char* name, std::uint64_t end, std::uint64_t all, std::uint64_t life) {
            return tap.specified.contains(name) && end != UINT64_MAX ? end - all + life : UINT64_MAX;
        };
        const lib::TapService service{
            limit("TIMEOUT-PACKETS", tap.packets_end, tap.packets, tap.life_packets),
            limit("TIMEOUT-BYTES", tap.bytes_end, tap.bytes, tap.life_bytes), suppressed};
        if (there.criterion != tap.text->criterion || there.destinations != tap.text->destinations ||
            there.action != tap.text->action || there.service != service) {
            why = fmt::format(
                "tap {} is installed otherwise:\n{} {} | {} | {} {} {}\ninstead of\n{} {} | {} | {} {} {}",
                id, there.action, there.criterion, together(there.destinations), there.service.packet_limit,
                there.service.byte_limit, there.service.suppressed, tap.text->action, tap.text->criterion,
                together(tap.text->destinations), service.packet_limit, service.byte_limit,
                service.suppressed);
            return false;
        }
    }
    return true;
}

void Run::compare() {
    std::string why;
    if (!agree(model_, look(), why)) {
        differ(why);
    }
    match_ended();
    if (box_.is_up() && !ended_.empty()) {
        differ(fmt::format("the end of tap {} was not told", ended_.begin()->first));
    }
}

void Run::compare_ids() {
    if (!box_.is_up()) {
        return;
    }
    const auto installed = box_.installed();
    if (!std::ranges::equal(model_.taps(), installed, {}, [](const auto& tap) { return tap.first; })) {
        differ("other taps are installed");
    }
}

void Run::match_ended() {
    static constexpr std::array names{"idle", "total", "packets", "bytes", "removed"};
    for (auto& [id, reasons] : model_.take_ended()) {
        ended_[id] = reasons;
    }
    for (const auto& event : box_.ended()) {
        const auto id = static_cast<std::uint64_t>(event.id);
        const auto found = ended_.find(id);
        const std::string reason = names[static_cast<std::size_t>(event.end)];
        if (found == ended_.end() || !found->second.contains(reason)) {
            differ(fmt::format("tap {} is said to have ended by {}", id, reason));
        }
        ++seen_["ended by " + reason];
        ended_.erase(found);
    }
}

}  // namespace flowtap::test::model
