// What a control source may do, how fast, and what it learns of others: nothing.
#include "test/unit/control/dialogue.h"

#include <algorithm>
#include <regex>

namespace flowtap::test {

namespace {

using control::SecurityReason;
using control::ServiceCounter;

template <typename Change>
lib::Config changed(Change change) {
    auto config = box_config();
    change(config);
    return config;
}

std::string noop(std::uint64_t seq, std::string_view source = "a", std::optional<std::string_view> key = {}) {
    return message("NOOP DTCP/0.7", {fmt::format("Csource-ID: {}", source), fmt::format("Seq: {}", seq)},
                   source, key);
}

/// Without what differs from one answer to the next by its nature.
std::string bare(const std::string& answer) {
    return std::regex_replace(answer, std::regex{"(SEQ|TIMESTAMP|AUTHENTICATION-INFO): [^\r]*"}, "$1");
}

}  // namespace

TEST_CASE("what is another's is answered byte for byte like what does not exist",
          "[dtcp:3.key-of-source][dtcp:3.isolation][dtcp:8.own]") {
    Box box;
    const auto theirs = add(box, {"Cdest-ID: shared", "Flags: SendAsync", "Timeout-Total: 80000"}, "b");
    const auto id = fmt::format("Criteria-ID: {}", theirs);
    const std::vector<std::string> questions{
        request("DELETE", {id, "Flags: Static"}),
        request("DELETE", {"Cdest-ID: shared", "Flags: Static"}),
        request("DELETE", {"Criteria-ID: 1-*", "Flags: Static"}),
        request("REFRESH", {id, "Timeout-Total: 7"}),
        request("REFRESH", {id, "Timeout-Total: 0"}),
        request("REFRESH", {"Cdest-ID: shared", "Timeout-Total: 7"}),
        request("REFRESH", {"Criteria-ID: *", "Timeout-Total: 0"}),
        request("ENABLE", {id, "X-Drop-Policy: web", "Flags: Static"}),
        request("ENABLE", {id, "X-Drop-Policy: nothing"}),
        request("DISABLE", {"Criteria-ID: *", "X-Drop-Policy: web", "Flags: Static"}),
        request("LIST", {id}),
        request("LIST", {"Cdest-ID: shared"}),
        request("LIST", {}),
        request("LIST", {}, "a", "DTCP/0.5"),
    };
    std::vector<std::string> there;
    for (const auto& question : questions) {
        there.push_back(bare(box.ask(question)));
    }
    CHECK(box.installed() == std::vector{theirs});
    CHECK(box.service_of(theirs).suppressed == 0);
    CHECK(count_of(one(box.ask(request("DELETE", {id}, "b"), "b"), "b")) == 1);
    for (std::size_t i = 0; i < questions.size(); ++i) {
        CHECK(there[i] == bare(box.ask(questions[i])));
    }
}

TEST_CASE("a configured destination of another source is answered like one that is not configured",
          "[dtcp:3.isolation][dtcp:9.430]") {
    Box box;
    const auto ask = [&](std::string_view name) {
        auto text = bare(box.ask(request("ADD", {fmt::format("Cdest-ID: {}", name), "Flags: Static"})));
        return text.replace(text.find(name), name.size(), "NAME");
    };
    CHECK(ask("theirs") == ask("nobody"));
}

TEST_CASE("actions: one that another source may use and one that nobody may are one 501",
          "[dtcp:9.501-action][dtcp:3.isolation]") {
    const auto config =
        changed([](lib::Config& c) { c.sources[1].actions = {lib::PrivilegedAction::block}; });
    Box box{config};
    Box other;
    const auto text = add_message(1, {"Action: Block"});
    const auto answer = box.ask(text);
    CHECK(one(answer).code == 501);
    CHECK(bare(answer) == bare(other.ask(text)));
    CHECK(one(box.ask(add_message(1, {"Action: Copy"}))).code == 200);
}

TEST_CASE("551: not more different destinations than max-destinations; known ones may be used again",
          "[dtcp:9.551]") {
    Box box;
    add(box, {"Cdest-ID: one"});
    add(box, {"Cdest-ID: two"});
    add(box, {"Cdest-ID: three"});
    const auto answer = box.ask(add_message(1, {"Cdest-ID: four"}));
    CHECK(one(answer).code == 551);
    CHECK(answer.find("\r\nCdest-ID: four\r\n") != std::string::npos);
    add(box, {"Cdest-ID: two"});
    CHECK(count_of(one(box.ask(request("DELETE", {"Cdest-ID: two", "Flags: Static"})))) == 2);
    add(box, {"Cdest-ID: four"});
}

TEST_CASE("550: not more taps of all sources than [control] max-criteria", "[dtcp:9.550-all]") {
    const auto config = changed([](lib::Config& c) { c.control.max_criteria = 3; });
    Box box{config};
    add(box, {}, "b");
    add(box, {}, "b");
    add(box);
    CHECK(one(box.ask(add_message(1))).code == 550);
    CHECK(one(box.ask(add_message(1, {}, "b"), "b"), "b").code == 550);
}

TEST_CASE("requests a second: what comes faster waits, in order, and nothing is lost; other sources go on") {
    const auto config = changed([](lib::Config& c) { c.sources[0].requests_per_second = 10; });
    Box box{config};
    const auto session = box.open();
    std::string many;
    for (std::uint64_t seq = 1; seq <= 40; ++seq) {
        many += noop(seq);
    }
    box.send(session, many);
    auto text = box.take(session);
    const auto first = read(text).size();
    CHECK(first == 10);
    CHECK_FALSE(box.service().wants_input(session));
    CHECK(one(box.ask(noop(1, "b"), "b"), "b").code == 200);
    box.pass(1'000);
    text += box.take(session);
    CHECK(read(text).size() >= first + 9);
    CHECK(read(text).size() <= first + 11);
    box.pass(2'500);
    text += box.take(session);
    const auto responses = read(text);
    REQUIRE(responses.size() == 40);
    for (std::uint64_t seq = 1; seq <= 40; ++seq) {
        CHECK(responses[seq - 1].seq() == seq);
    }
    CHECK(box.counter(ServiceCounter::requests) == 41);
}

TEST_CASE("messages that are not authentic use up nothing of a source's pace") {
    const auto config = changed([](lib::Config& c) { c.sources[0].requests_per_second = 2; });
    Box box{config};
    for (int i = 0; i < 20; ++i) {
        CHECK(box.ask(noop(1, "a", "wrong")).empty());
    }
    CHECK(one(box.ask(noop(1))).code == 200);
}

TEST_CASE("ssh-sequence none: numbers are echoed, whatever they are", "[dtcp:1.ssh-seq-echoed]") {
    Box box;
    const auto session = box.open();
    box.send(session, noop(5) + noop(5) + noop(1));
    CHECK(read(box.take(session)).size() == 3);
}

TEST_CASE("ssh-sequence session: numbers must grow, by 256 at most; else no answer, an event, nothing done",
          "[dtcp:1.ssh-seq-session][dtcp:3.silent-sequence][dtcp:3.seq-wrap]") {
    const auto config =
        changed([](lib::Config& c) { c.sources[0].ssh_sequence = lib::SshSequence::session; });
    Box box{config};
    const auto session = box.open();
    const auto answered = [&](std::uint64_t seq) {
        box.send(session, noop(seq));
        return !box.take(session).empty();
    };
    CHECK(answered(1000));
    CHECK_FALSE(answered(1000));
    CHECK_FALSE(answered(999));
    CHECK_FALSE(answered(1257));
    CHECK(answered(1256));
    CHECK(answered(1257));
    CHECK(box.events(SecurityReason::bad_sequence) == 3);
    CHECK(box.counter(ServiceCounter::rejected_sequence) == 3);
    box.send(session, add_message(1257));
    CHECK(box.installed().empty());
    // Another session begins anew; a number that is only near the end may wrap.
    const auto next = box.open();
    box.send(next, noop(std::uint64_t{0} - 2) + noop(5));
    CHECK(read(box.take(next)).size() == 2);
    const auto third = box.open();
    box.send(third, noop(5) + noop(std::uint64_t{0} - 2));
    CHECK(read(box.take(third)).size() == 1);
}

TEST_CASE("a message that waits is judged by its number once, not each time it is looked at",
          "[dtcp:1.ssh-seq-session]") {
    const auto config =
        changed([](lib::Config& c) { c.sources[0].ssh_sequence = lib::SshSequence::session; });
    Box box{config};
    const auto session = box.open();
    box.paused = true;
    box.send(session, add_message(1) + request("LIST", {}));
    box.pass(500);
    box.paused = false;
    // The LIST has Seq 1 again: it is the one that is not answered.
    CHECK(read(box.take(session)).size() == 1);
    box.paused = true;
    box.send(session, add_message(2) + message("LIST DTCP/0.7", {"Csource-ID: a", "Seq: 3"}));
    box.pass(500);
    box.paused = false;
    CHECK(read(box.take(session)).size() == 2);
}

TEST_CASE("authentication that fails again and again: the session is read ever more slowly, silently") {
    Box box;
    const auto session = box.open();
    box.send(session, noop(1, "a", "wrong") + noop(2, "a", "wrong"));
    CHECK(box.service().wants_input(session));
    CHECK(box.events(SecurityReason::failing_again) == 0);
    box.send(session, noop(3, "a", "wrong") + noop(4));
    CHECK_FALSE(box.service().wants_input(session));
    CHECK(box.events(SecurityReason::failing_again) == 1);
    CHECK(box.service().suspects() == 1);
    CHECK(box.take(session).empty());
    CHECK(one(box.ask(noop(1))).code == 200);
    box.pass(1'100);
    CHECK(one(box.take(session)).seq() == 4U);
    CHECK(box.service().suspects() == 0);
    std::uint64_t last = 0;
    for (int i = 0; i < 10; ++i) {
        box.send(session, noop(3, "a", "wrong"));
        std::uint64_t waited = 0;
        while (!box.service().wants_input(session)) {
            box.pass(100);
            waited += 100;
        }
        CHECK(waited >= last);
        CHECK(waited <= 32'000);
        last = waited;
    }
    CHECK(last >= 31'900);
}

TEST_CASE("versions: REFRESH, ENABLE and LIST are answered in the request's own; no IPv6 before 0.7",
          "[dtcp:4.accepted][dtcp:4.no-ipv6][dtcp:4.list-num-criteria]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Total: 60"});
    const auto criteria = fmt::format("Criteria-ID: {}", id);
    for (const auto version : {"DTCP/0.5", "DTCP/0.6", "DTCP/0.7", "DTCP/0.8"}) {
        const auto refreshed = box.ask(request("REFRESH", {criteria, "Timeout-Total: 60"}, "a", version));
        CHECK(refreshed.starts_with(fmt::format("{} 200 OK\r\n", version)));
        CHECK(box.ask(request("ENABLE", {criteria, "X-Drop-Policy: web"}, "a", version))
                  .starts_with(fmt::format("{} 200 OK\r\n", version)));
        const bool oldest = std::string_view{version} == "DTCP/0.5";
        const auto listed = one(box.ask(request("LIST", {}, "a", version)));
        CHECK((listed.find(lib::dtcp::Name::criteria_num) == nullptr) == oldest);
        CHECK((listed.find(lib::dtcp::Name::criteria_count) == nullptr) == oldest);
        CHECK((listed.find(lib::dtcp::Name::num_criteria) != nullptr) == oldest);
        const bool old = std::string_view{version} < "DTCP/0.7";
        const auto v6 = one(box.ask(request(
            "ADD", {"Cdest-ID: known", "Source-Address: 2001:db8::1", "Flags: Static"}, "a", version)));
        CHECK(v6.code == (old ? 432 : 200));
        box.ask(request("DELETE", {"Cdest-ID: known", "Flags: Static"}));
    }
    CHECK(one(box.ask(request("REFRESH", {criteria, "Timeout-Total: 60"}, "a", "DTCP/0.9"))).code == 505);
    CHECK(one(box.ask(request("ENABLE", {criteria, "X-Drop-Policy: web"}, "a", "DTCP/0.4"))).code == 505);
}

}  // namespace flowtap::test
