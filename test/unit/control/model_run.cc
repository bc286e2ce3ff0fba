#include "test/unit/control/model_run.h"

#include "test/unit/control/model_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace flowtap::test::model {

namespace {

constexpr std::size_t steps_between_compares = 20;
constexpr std::size_t steps_told = 6;

std::string key_of(int source) {
    return "key-" + setup().sources[static_cast<std::size_t>(source)].name;
}

}  // namespace

Run::Run(std::uint64_t seed) : seed_{seed}, chance_{seed}, box_{setup_config(), seed} {}

void Run::differ(const std::string& why) const {
    auto text = fmt::format("FLOWTAP_MODEL_SEED={}: step {}: {}\nthe last steps:\n", seed_, step_, why);
    for (const auto& line : log_) {
        text += line + "\n";
    }
    throw std::runtime_error(text);
}

void Run::note(std::string text) {
    log_.push_back(
        fmt::format("[{}, {} ms] {}", step_, (box_.now.boot - 1'000'000'000'000) / 1'000'000, text));
    while (log_.size() > steps_told) {
        log_.pop_front();
    }
}

void Run::go(std::size_t steps) {
    for (step_ = 1; step_ <= steps; ++step_) {
        try {
            step();
            match_ended();
            compare_ids();
            if (step_ % steps_between_compares == 0 || step_ == steps) {
                compare();
            }
        } catch (const std::logic_error& error) {
            differ(fmt::format("what never may be: {}", error.what()));
        }
    }
}

void Run::step() {
    const auto dice = chance_.below(1000);
    if (dice < 600) {
        single();
    } else if (dice < 740) {
        burst();
    } else if (dice < 850) {
        pass_time(100 * (chance_.percent(80) ? chance_.between(1, 12) : chance_.between(13, 150)));
    } else if (dice < 945) {
        count();
    } else if (dice < 950) {
        bounce_dataplane();
    } else if (dice < 957) {
        away();
    } else if (dice < 967) {
        refuse();
    } else if (dice < 987) {
        crash();
    } else if (dice < 995) {
        reopen();
    } else if (dice < 997) {
        suspect();
    } else {
        too_long();
    }
}

// Clients

std::size_t Run::client_of(int source) {
    const auto& users = setup().sources[static_cast<std::size_t>(source)].users;
    std::string user = users[chance_.below(users.size())];
    const bool foreign = chance_.below(60) == 0;
    if (foreign) {
        user = chance_.of({"a", "b", "c", "officer", "nobody"});
    }
    std::vector<std::size_t> fitting;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        if (clients_[i].user == user) {
            fitting.push_back(i);
        }
    }
    if (!fitting.empty() && chance_.percent(75)) {
        return chance_.of(fitting);
    }
    const auto last = chance_.between(1, 250);
    Client client{
        .user = user, .address = fmt::format("198.51.100.{}", last), .next_seq = chance_.between(1, 1000)};
    lib::IpAddress address{lib::Family::ipv4, {198, 51, 100, static_cast<std::uint8_t>(last)}};
    client.session = box_.service().open({user, address});
    clients_.push_back(std::move(client));
    return clients_.size() - 1;
}

void Run::forget_clients() {
    clients_.clear();
}

Ask Run::ask_of(Client& client, int source, const Wish& wish, std::optional<Verb> verb) {
    const auto& users = setup().sources[static_cast<std::size_t>(source)].users;
    const bool foreign = std::ranges::find(users, client.user) == users.end();
    if (foreign && client.rejected == 2) {
        // One more, and it would be read more slowly: that is another step's.
        source = client.user == "c" ? 2 : client.user == "a" ? 0 : 1;
        if (client.user == "nobody") {
            client.user.clear();
        }
    }
    const auto dice = chance_.below(100);
    std::optional<std::uint64_t> seq = client.next_seq;
    if (dice < 3) {
        seq.reset();
    } else if (dice < 6) {
        seq = *seq == 0 ? 0 : *seq - 1;
    } else if (dice < 9) {
        seq = *seq + chance_.between(200, 300);
    }
    const Speaker speaker{source, client.user, seq, verb, wish.plain_ids, client.rejected < 2};
    return make_request(chance_, speaker, model_);
}

std::vector<Run::Track> Run::plan(const Wish& wish, std::size_t clients) {
    std::vector<Track> tracks;
    std::set<std::size_t> busy;
    for (std::size_t i = 0; i < clients; ++i) {
        const int source = wish.sources[i % wish.sources.size()];
        const auto index = client_of(source);
        auto& client = clients_[index];
        const auto& users = setup().sources[static_cast<std::size_t>(source)].users;
        const bool foreign = std::ranges::find(users, client.user) == users.end();
        if (!busy.insert(index).second || (foreign && client.rejected == 2)) {
            continue;
        }
        Track track{.client = index, .address = client.address, .unsent = {}, .text = {}};
        const auto asks = wish.asks == 1 ? 1 : chance_.between(1, wish.asks);
        std::optional<Verb> verb;
        if (wish.apart && asks > 1) {
            verb = Verb::add;
        }
        for (std::size_t n = 0; n < asks && client.rejected < 2; ++n) {
            auto ask = ask_of(client, source, wish, verb);
            track.unsent += ask.bytes;
            if (Model::silent(ask, client.talk)) {
                const bool known = ask.source >= 0 && ask.authentic && !foreign;
                client.rejected = known ? 0 : client.rejected + 1;
                ++seen_["silent"];
            } else {
                client.rejected = 0;
                track.keys.push_back(key_of(ask.source));
                track.asks.push_back(std::move(ask));
            }
            const auto last = client.talk.find(source);
            client.next_seq = last == client.talk.end() ? client.next_seq + 1 : last->second + 1;
        }
        if (client.rejected == 2 && track.unsent.empty()) {
            // Nothing but a good message helps it.
            Wish calm = wish;
            auto ask = ask_of(client, source, calm, Verb::noop);
            track.unsent += ask.bytes;
            if (!Model::silent(ask, client.talk)) {
                track.keys.push_back(key_of(ask.source));
                track.asks.push_back(std::move(ask));
            }
            client.rejected = 0;
        }
        tracks.push_back(std::move(track));
    }
    return tracks;
}

/// As much as is taken, in pieces of chance.
void Run::send(std::vector<Track>& tracks) {
    for (bool more = true; more;) {
        more = false;
        for (auto& track : tracks) {
            const auto session = clients_[track.client].session;
            if (track.unsent.empty() || !box_.service().wants_input(session)) {
                continue;
            }
            const auto size =
                chance_.percent(50) ? track.unsent.size() : chance_.between(1, track.unsent.size());
            box_.send(session, track.unsent.substr(0, size));
            track.unsent.erase(0, size);
            more = true;
        }
    }
}

void Run::take(std::vector<Track>& tracks) {
    for (bool more = true; more;) {
        send(tracks);
        more = false;
        for (auto& track : tracks) {
            auto part = box_.take(clients_[track.client].session);
            more = more || !part.empty();
            track.text += part;
        }
    }
}

void Run::read(std::vector<Track>& tracks) {
    for (auto& track : tracks) {
        std::string story = fmt::format("session of {}:\n", clients_[track.client].user);
        for (const auto& ask : track.asks) {
            story += ask.bytes;
        }
        note(story + "---- answers:\n" + track.text);
        auto replies = replies_of(track.text, track.keys, why_);
        if (!replies) {
            differ(why_);
        }
        track.replies = std::move(*replies);
        for (const auto& reply : track.replies) {
            ++seen_[fmt::format("code {}", reply.code)];
        }
    }
}

// Steps

void Run::single() {
    auto tracks = plan({.sources = {static_cast<int>(chance_.below(3))}}, 1);
    take(tracks);
    read(tracks);
    explain(tracks, {}, now(), false);
    ++seen_["single"];
}

void Run::burst() {
    const bool together = chance_.percent(30);
    const auto first = static_cast<int>(chance_.below(3));
    auto tracks =
        plan({.sources = together ? std::vector{first} : std::vector{first, (first + 1) % 3, (first + 2) % 3},
              .asks = 4},
             chance_.between(1, together ? 2 : 3));
    box_.paused = chance_.percent(70);
    send(tracks);
    if (box_.paused && chance_.percent(15)) {
        note("the dataplane dies and is started again");
        box_.dataplane_dies();
        model_.dataplane_died(now());
        box_.dataplane_starts();
        model_.dataplane_started(now());
        ++seen_["dataplane bounced in a burst"];
    } else if (box_.paused && chance_.percent(10)) {
        box_.tasking().want_resync();
        ++seen_["resync in a burst"];
    }
    box_.paused = false;
    box_.settle();
    take(tracks);
    read(tracks);
    explain(tracks, {}, now(), false);
    ++seen_["burst"];
}

void Run::pass_time(std::uint64_t milliseconds) {
    note(fmt::format("{} ms pass", milliseconds));
    box_.pass(milliseconds);
    model_.pass(now());
    if (box_.is_up()) {
        const auto installed = box_.installed();
        for (const auto id : model_.perhaps_idle(now())) {
            if (!std::ranges::binary_search(installed, id)) {
                model_.found_idle(id);
            }
        }
    }
    ++seen_["time"];
}

void Run::count() {
    if (model_.taps().empty()) {
        return;
    }
    auto place = model_.taps().begin();
    std::advance(place, chance_.below(model_.taps().size()));
    const auto id = place->first;
    const auto packets = chance_.percent(90) ? chance_.between(1, 6) : chance_.between(7, 60);
    const auto size = chance_.between(40, 1500);
    note(fmt::format("{} packets of {} bytes to {}", packets, size, id));
    box_.count(id, packets, packets * size);
    model_.count(id, packets, size, now());
    ++seen_["packets"];
}

void Run::bounce_dataplane() {
    note("the dataplane dies and is started again");
    box_.dataplane_dies();
    model_.dataplane_died(now());
    box_.dataplane_starts();
    model_.dataplane_started(now());
    compare();
    ++seen_["dataplane bounced"];
}

/// Requests while the dataplane is away, for less than the service's patience or for more.
void Run::away() {
    note("the dataplane dies");
    box_.dataplane_dies();
    model_.dataplane_died(now());
    if (chance_.percent(30)) {
        pass_time(100 * chance_.between(1, 80));
    }
    auto tracks = plan({.sources = {0, 1, 2}, .asks = 3, .apart = true}, chance_.between(1, 3));
    const auto asked = now();
    send(tracks);
    const bool too_long = chance_.percent(50);
    const auto time = too_long ? 5'300 : 100 * chance_.between(1, 45);
    note(fmt::format("away for {} ms more", time));
    box_.pass(time);
    if (!too_long) {
        box_.dataplane_starts();
    }
    take(tracks);
    read(tracks);
    Latitude latitude{.may_be_full = true, .until = now().utc};
    latitude.may_fail = latitude.no_additions = latitude.no_removals = too_long;
    explain(tracks, latitude, asked, false);
    if (!too_long) {
        model_.dataplane_started(now());
    }
    pass_time(100);
    if (too_long) {
        compare();
        box_.dataplane_starts();
        model_.dataplane_started(now());
    }
    compare();
    ++seen_[too_long ? "away too long" : "away"];
}

/// The dataplane refuses all that is new, or one slot.
void Run::refuse() {
    const bool all = chance_.percent(50);
    auto tracks = plan({.sources = {0, 1, 2}, .asks = 4}, chance_.between(1, 3));
    box_.paused = chance_.percent(70);
    box_.refusing = all;
    if (!all) {
        box_.poison = static_cast<std::uint32_t>(chance_.below(24));
    }
    send(tracks);
    box_.paused = false;
    box_.settle();
    take(tracks);
    box_.refusing = false;
    box_.poison.reset();
    read(tracks);
    explain(tracks, {.may_fail = true, .no_additions = all, .may_be_full = true}, now(), false);
    compare();
    ++seen_["refused"];
}

/// Control dies, or both processes, or clients go away, with requests at any stage of their way.
void Run::crash() {
    box_.unheard = chance_.percent(30);
    // Each request may have been done or not, in any order: what can be told apart is bounded by this.
    const auto clients = chance_.between(0, 3);
    const std::size_t asks = clients == 3 ? 2 : clients == 2 ? 3 : 4;
    auto tracks = plan({.sources = {0, 1, 2}, .asks = asks, .plain_ids = true}, clients);
    box_.paused = chance_.percent(80);
    send(tracks);
    for (auto commits = chance_.below(3); commits != 0 && !box_.unheard; --commits) {
        box_.apply();
    }
    if (box_.unheard) {
        box_.paused = false;
        box_.settle();
    }
    for (auto& track : tracks) {
        if (chance_.percent(50)) {
            track.text = box_.take(clients_[track.client].session);
        }
    }
    box_.paused = false;
    const auto dice = chance_.below(10);
    const bool both = dice == 0;
    const bool left_alone = !both && dice < 3 && !box_.unheard;
    if (both) {
        note("both processes die");
        box_.unheard = false;
        box_.both_restart();
    } else if (left_alone) {
        note("the clients go away");
        for (const auto& track : tracks) {
            box_.service().close(clients_[track.client].session);
        }
        box_.settle();
    } else {
        note("control dies");
        box_.unheard = false;
        box_.control_restarts();
        model_.control_restarted(now());
    }
    ++seen_[both ? "both died" : left_alone ? "clients gone" : "control died"];
    read(tracks);
    if (both) {
        // What was answered was true; now nothing is left of it.
        std::vector<std::size_t> at(tracks.size());
        if (!search(model_, tracks, at, {}, now(), true, [this](Model& model) {
                model_ = model;
                return true;
            })) {
            differ(why_);
        }
        model_.everything_lost(now());
    } else {
        explain(tracks, {}, now(), true);
    }
    if (!left_alone) {
        forget_clients();
    } else {
        std::vector<Client> left;
        for (std::size_t i = 0; i < clients_.size(); ++i) {
            if (std::ranges::find(tracks, i, &Track::client) == tracks.end()) {
                left.push_back(clients_[i]);
            }
        }
        clients_ = std::move(left);
    }
    static_cast<void>(box_.ended());
    static_cast<void>(model_.take_ended());
    ended_.clear();
    compare();
}

void Run::reopen() {
    if (!clients_.empty()) {
        const auto place = clients_.begin() + static_cast<std::ptrdiff_t>(chance_.below(clients_.size()));
        box_.service().close(place->session);
        clients_.erase(place);
    }
    ++seen_["session closed"];
}

/// Three messages that are not authentic: what follows is read later.
void Run::suspect() {
    note("a session on which authentication fails");
    const auto session = box_.open("b");
    const std::string good = "NOOP DTCP/0.7\r\nCsource-ID: b\r\nSeq: 1\r\n";
    std::string bytes;
    for (int i = 0; i < 3; ++i) {
        bytes += good + "Authentication-Info: " + signature("guess", good) + "\r\n\r\n";
    }
    box_.send(session, bytes + good + "Authentication-Info: " + signature("key-b", good) + "\r\n\r\n");
    if (!box_.take(session).empty()) {
        differ("an answer to one who guesses, at once");
    }
    pass_time(1'100);
    const auto replies = replies_of(box_.take(session), {"key-b"}, why_);
    if (!replies || replies->size() != 1 || replies->front().code != 200) {
        differ("no answer to a good message after wrong ones");
    }
    box_.service().close(session);
    ++seen_["suspect"];
}

/// A message that does not end: 400 where it is known whose it is, and the session is closed.
void Run::too_long() {
    note("a message longer than 64 KiB");
    const auto session = box_.open("b");
    const bool spoken = chance_.percent(50);
    if (spoken) {
        const std::string good = "NOOP DTCP/0.7\r\nCsource-ID: b\r\nSeq: 1\r\n";
        box_.send(session, good + "Authentication-Info: " + signature("key-b", good) + "\r\n\r\n");
        static_cast<void>(box_.take(session));
    }
    box_.send(session, "ADD DTCP/0.7\r\nCdest-ID: " + std::string(70'000, 'x'));
    const auto replies = replies_of(box_.take(session), {"key-b"}, why_);
    if (!replies || replies->size() != (spoken ? 1 : 0) || (spoken && replies->front().code != 400) ||
        !box_.service().finished(session)) {
        differ("a message longer than 64 KiB");
    }
    box_.service().close(session);
    ++seen_["too long"];
}

// Explanations

}  // namespace flowtap::test::model
