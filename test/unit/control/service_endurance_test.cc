// The service when others fail it: a dataplane that goes, a restart, clients that do not read or make no
// sense.
#include "lib/dtcp/response_reader.h"
#include "test/unit/control/box.h"
#include "test/unit/control/dialogue.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace flowtap::test {

namespace {

using control::SecurityReason;
using control::ServiceCounter;

}  // namespace

TEST_CASE("the dataplane is away: ADD and DELETE wait, and are done when it comes back in time") {
    Box box;
    const auto id = add(box);
    box.dataplane_dies();
    const auto adding = box.open();
    const auto deleting = box.open();
    box.send(adding, add_message(1));
    box.send(deleting, remove(fmt::format("Criteria-ID: {}", id)));
    box.pass(4'000);
    CHECK(box.take(adding).empty());
    box.dataplane_starts();
    const auto fresh = id_of(one(box.take(adding)));
    CHECK(one(box.take(deleting)).code == 200);
    CHECK(box.installed() == std::vector{fresh});
}

TEST_CASE("the dataplane stays away: 500 after 5 s, and nothing of the request is left",
          "[dtcp:5.all-or-nothing][dtcp:9.500]") {
    Box box;
    const auto id = add(box);
    box.dataplane_dies();
    const auto adding = box.open();
    const auto deleting = box.open();
    box.send(adding, add_message(1));
    box.send(deleting, remove(fmt::format("Criteria-ID: {}", id)));
    box.pass(5'100);
    CHECK(one(box.take(adding)).code == 500);
    CHECK(one(box.take(deleting)).code == 500);
    box.dataplane_starts();
    CHECK(box.installed() == std::vector{id});
    CHECK(entries(box) == 1);
}

TEST_CASE("a dataplane that dies with a change on its way: the resync decides it") {
    Box box;
    const auto session = box.open();
    box.paused = true;
    box.send(session, add_message(1));
    lib::CommandBatch lost;
    REQUIRE(box.tasking().fill(lost, 1024));
    box.dataplane_dies();
    box.paused = false;
    box.dataplane_starts();
    const auto id = id_of(one(box.take(session)));
    CHECK(box.installed() == std::vector{id});
}

TEST_CASE("a change that the dataplane refuses fails alone: what shared its commit is done", "[dtcp:9.500]") {
    Box box;
    const auto session = box.open();
    box.paused = true;
    box.send(session, add_message(1) + add_message(2) + add_message(3));
    box.poison = 1;
    box.paused = false;
    const auto responses = read(box.take(session));
    REQUIRE(responses.size() == 3);
    CHECK(responses[0].code == 200);
    CHECK(responses[1].code == 500);
    CHECK(responses[2].code == 200);
    CHECK(box.installed().size() == 2);
    CHECK(entries(box) == 2);
}

TEST_CASE("statistics go on over a restart of the dataplane and of control", "[dtcp:8.matching]") {
    Box box;
    const auto id = add(box);
    box.count(id, 10, 1'000);
    box.dataplane_dies();
    box.dataplane_starts();
    box.count(id, 5, 500);
    box.control_restarts();
    box.count(id, 1, 10);
    const auto response = one(box.ask(list({})));
    CHECK(value(response, lib::dtcp::Name::matching_packets) == "16");
    CHECK(value(response, lib::dtcp::Name::matching_bytes) == "1510");
}

TEST_CASE("control restarts: taps, Criteria-IDs, destinations and timeouts are as they were") {
    Box box;
    const auto keep = add(box);
    const auto timed = add(box, {"Flags: SendAsync", "Timeout-Total: 10"});
    const auto before = box.ask(list({}));
    box.pass(4'000);
    box.control_restarts();
    auto expected = std::vector{keep, timed};
    std::ranges::sort(expected);
    CHECK(box.installed() == expected);
    CHECK(entries(box) == 2);
    const auto after = one(box.ask(list({fmt::format("Criteria-ID: {}", timed)})));
    CHECK(value(after, lib::dtcp::Name::remaining_total) == "6");
    box.pass(6'100);
    CHECK(box.installed() == std::vector{keep});
    const auto fresh = add(box);
    CHECK(fresh != timed);
    CHECK(value(one(box.ask(remove(fmt::format("Criteria-ID: {}", keep)))),
                lib::dtcp::Name::criteria_count) == "1");
}

TEST_CASE(
    "control dies before the completion of an ADD: the tap is wholly there afterwards, and can be deleted",
    "[dtcp:5.all-or-nothing]") {
    Box box;
    const auto session = box.open();
    box.paused = true;
    box.send(session, add_message(1));
    box.paused = false;
    box.control_restarts();
    REQUIRE(box.installed().size() == 1);
    CHECK(entries(box) == 1);
    CHECK(one(box.ask(remove("Cdest-ID: cd"))).code == 200);
    CHECK(box.installed().empty());
}

TEST_CASE("control dies after the dataplane has removed a tap: it stays removed, and no limit starts again") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 10"});
    box.count(id, 7, 700);
    const auto session = box.open();
    box.unheard = true;
    box.send(session, remove(fmt::format("Criteria-ID: {}", id)));
    CHECK(box.take(session).empty());
    CHECK(box.installed().empty());
    box.unheard = false;
    box.control_restarts();
    CHECK(box.installed().empty());
    CHECK(entries(box) == 0);
}

TEST_CASE("a DELETE that failed is not done by the next process either") {
    Box box;
    const auto id = add(box);
    box.dataplane_dies();
    const auto session = box.open();
    box.send(session, remove(fmt::format("Criteria-ID: {}", id)));
    box.pass(5'100);
    CHECK(one(box.take(session)).code == 500);
    box.dataplane_starts();
    box.control_restarts();
    CHECK(box.installed() == std::vector{id});
}

TEST_CASE("an entry of the registry whose message is not authentic becomes no tap") {
    Box box;
    const auto id = add(box);
    control::RegistryEntry forged;
    forged.slot = lib::TapSlot{9};
    forged.id = lib::TapId{id + 1};
    forged.message = add_message(1);
    forged.message[forged.message.find("10.0.0.1") + 7] = '3';
    REQUIRE(box.tasking().registry().add(forged).has_value());
    box.control_restarts();
    CHECK(box.installed() == std::vector{id});
    CHECK(box.counter(ServiceCounter::taps_not_restored) == 1);
    box.control_restarts();
    CHECK(box.counter(ServiceCounter::taps_not_restored) == 0);
}

TEST_CASE("a message longer than 64 KiB: 400 for whom the session has spoken, and the session ends",
          "[dtcp:1.max-message]") {
    Box box;
    const auto session = box.open();
    box.send(session, message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1"}));
    box.send(session, std::string(70'000, 'x'));
    const auto responses = read(box.take(session));
    REQUIRE(responses.size() == 2);
    CHECK(responses[1].code == 400);
    CHECK(box.service().finished(session));
    CHECK(box.events(SecurityReason::message_too_long) == 1);
    const auto stranger = box.open();
    box.send(stranger, std::string(70'000, 'x'));
    CHECK(box.take(stranger).empty());
    CHECK(box.service().finished(stranger));
}

TEST_CASE(
    "a client that does not read is not read either beyond a bound, and dropped after 30 s; others go on") {
    Box box;
    const auto slow = box.open();
    std::string many;
    for (int i = 0; i < 200; ++i) {
        many += message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1"});
    }
    std::size_t given = 0;
    while (box.service().wants_input(slow) && given < 64u << 20) {
        box.service().receive(slow, many, box.now);
        box.settle();
        given += many.size();
    }
    CHECK(given < 4u << 20);
    CHECK(box.service().output(slow).size() < (1u << 20) + 65'536);
    CHECK(one(box.ask(message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1"}))).code == 200);
    box.pass(29'000);
    CHECK_FALSE(box.service().finished(slow));
    box.pass(1'200);
    CHECK(box.service().finished(slow));
    CHECK(box.service().output(slow).empty());
    CHECK(box.counter(ServiceCounter::clients_dropped) == 1);
}

TEST_CASE("a client that reads slowly is not dropped, and gets everything in order") {
    Box box;
    const auto session = box.open();
    std::string many;
    for (int i = 1; i <= 100; ++i) {
        many += message("NOOP DTCP/0.7", {"Csource-ID: a", fmt::format("Seq: {}", i)});
    }
    box.send(session, many);
    std::string text;
    for (int second = 0; second < 60; ++second) {
        const auto output = box.service().output(session);
        const auto part = std::string{output.substr(0, 500)};
        box.service().sent(session, part.size(), box.now);
        text += part;
        box.pass(1'000);
    }
    text += box.take(session);
    const auto responses = read(text);
    REQUIRE(responses.size() == 100);
    for (std::uint64_t i = 1; i <= 100; ++i) {
        CHECK(responses[i - 1].seq() == i);
    }
}

TEST_CASE("the client's end of input: what it asked is still answered, then the session is over") {
    Box box;
    const auto session = box.open();
    box.paused = true;
    box.send(session, add_message(1));
    box.service().end_input(session, box.now);
    CHECK_FALSE(box.service().finished(session));
    box.paused = false;
    CHECK(one(box.take(session)).code == 200);
    CHECK(box.service().finished(session));
}

TEST_CASE("whatever the chunks that a stream comes in, the answers are the same", "[dtcp:1.ssh-framing]") {
    Box box;
    const auto stream = message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1"}) + list({}) +
                        message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 2"}, "a", "wrong") +
                        message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 3"});
    const auto whole = box.ask(stream);
    for (std::size_t chunk = 1; chunk < 40; chunk += 7) {
        const auto session = box.open();
        for (std::size_t at = 0; at < stream.size(); at += chunk) {
            box.send(session, std::string_view{stream}.substr(at, chunk));
        }
        CHECK(box.take(session) == whole);
    }
}

TEST_CASE("no session, however its bytes look, can make the service answer an unsigned word",
          "[dtcp:3.signed-answers]") {
    Box box;
    for (const auto text : {"\r\n\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\n\n\n", "ADD\n\n",
                            "ADD DTCP/0.7\nCsource-ID: a\nAuthentication-Info: \n\n"}) {
        CHECK(box.ask(text).empty());
    }
}

TEST_CASE_METHOD(Box, "what a session waited for when it was dropped is answered to nobody", "[service]") {
    const auto session = open();
    send(session, request("NOOP", {}));  // and never reads
    pass(28'000);
    paused = true;
    send(session, add_message(2));
    pass(3'000);
    REQUIRE(counter(ServiceCounter::clients_dropped) == 1);
    REQUIRE(service().finished(session));
    const auto answered = counter(ServiceCounter::answers_ok);
    paused = false;
    settle();
    CHECK(installed().size() == 1);
    CHECK(counter(ServiceCounter::answers_ok) == answered);
    CHECK(service().output(session).empty());
    service().close(session);
    CHECK(entries(*this) == 1);
}

}  // namespace flowtap::test
