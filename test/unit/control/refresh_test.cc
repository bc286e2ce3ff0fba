// REFRESH, and limits in packets and bytes (dtcp.md sections 5 and 6).
#include "control/terms.h"
#include "test/unit/control/dialogue.h"

#include <algorithm>

namespace flowtap::test {

namespace {

using control::TapEnd;
using lib::dtcp::Name;

std::string refresh(std::string_view selector, std::string_view timeout, std::string_view source = "a") {
    return request("REFRESH", {selector, timeout}, source);
}

lib::dtcp::Response listed(Box& box, std::uint64_t id) {
    return one(box.ask(request("LIST", {fmt::format("Criteria-ID: {}", id)})));
}

std::string id_line(std::uint64_t id) {
    return fmt::format("Criteria-ID: {}", id);
}

}  // namespace

TEST_CASE("REFRESH replaces what remains of a timeout, from now on, and no other",
          "[dtcp:5.refresh-timeouts][dtcp:5.refresh-answer][dtcp:8.remaining]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Total: 10", "Timeout-Idle: 60"});
    box.pass(8'000);
    CHECK(count_of(one(box.ask(refresh(id_line(id), "Timeout-Total: 20")))) == 1);
    const auto entry = listed(box, id);
    CHECK(number(entry, Name::timeout_total) == 20);
    CHECK(number(entry, Name::remaining_total) == 20);
    CHECK(number(entry, Name::remaining_idle) == 52);
    box.pass(19'000);
    CHECK(box.installed() == std::vector{id});
    box.pass(1'200);
    CHECK(box.installed().empty());
}

TEST_CASE("REFRESH restarts idleness, and may add a timeout that the tap did not have",
          "[dtcp:5.refresh-timeouts]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Total: 100"});
    box.pass(50'000);
    CHECK(count_of(one(box.ask(refresh(id_line(id), "Timeout-Idle: 3")))) == 1);
    box.pass(2'500);
    CHECK(box.installed() == std::vector{id});
    CHECK(count_of(one(box.ask(refresh(id_line(id), "Timeout-Idle: 3")))) == 1);
    box.pass(2'500);
    CHECK(box.installed() == std::vector{id});
    box.pass(1'000);
    CHECK(box.installed().empty());
    const auto ended = box.ended();
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].end == TapEnd::idle);
}

TEST_CASE(
    "REFRESH with zero removes a timeout; where none would remain it is 433 with the line, for all taps",
    "[dtcp:5.all-or-nothing][dtcp:6.timeout-needed][dtcp:9.433]") {
    Box box;
    const auto both = add(box, {"Flags: SendAsync", "Timeout-Total: 5", "Timeout-Idle: 60"});
    const auto total = add(box, {"Flags: SendAsync", "Timeout-Total: 7"});
    const auto answer = box.ask(refresh(fmt::format("Criteria-ID: {},{}", both, total), "Timeout-Total: 0"));
    CHECK(one(answer).code == 433);
    CHECK(answer.find("\r\nTimeout-Total: 0\r\n") != std::string::npos);
    CHECK(number(listed(box, both), Name::timeout_total) == 5);
    CHECK(number(listed(box, both), Name::num_refresh) == 0);
    CHECK(count_of(one(box.ask(refresh(id_line(both), "Timeout-Total: 0")))) == 1);
    CHECK(listed(box, both).find(Name::timeout_total) == nullptr);
    CHECK(listed(box, both).find(Name::remaining_total) == nullptr);
    box.pass(10'000);
    CHECK(box.installed() == std::vector{both});
}

TEST_CASE("REFRESH never touches static taps, nor makes one, and does not count them",
          "[dtcp:5.refresh-static][dtcp:5.refresh-answer]") {
    Box box;
    const auto fixed = add(box);
    const auto timed = add(box, {"Flags: SendAsync", "Timeout-Total: 60"});
    CHECK(count_of(one(box.ask(refresh("Criteria-ID: *", "Timeout-Total: 1")))) == 1);
    CHECK(count_of(one(box.ask(refresh(id_line(fixed), "Timeout-Total: 1")))) == 0);
    CHECK(one(box.ask(request("REFRESH", {id_line(timed), "Timeout-Total: 1", "Flags: Static"}))).code ==
          501);
    box.pass(1'500);
    CHECK(box.installed() == std::vector{fixed});
}

TEST_CASE("REFRESH of an explicit ID that does not exist is 431 with the line, and changes nothing",
          "[dtcp:5.refresh-selector][dtcp:5.refresh-unknown][dtcp:9.431]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Total: 60"});
    const auto absent = id == 5 ? 6 : 5;
    const auto line = fmt::format("Criteria-ID: {},{}", id, absent);
    const auto answer = box.ask(refresh(line, "Timeout-Total: 7"));
    CHECK(one(answer).code == 431);
    CHECK(answer.find(line) != std::string::npos);
    CHECK(number(listed(box, id), Name::timeout_total) == 60);
    CHECK(count_of(one(box.ask(refresh(fmt::format("Criteria-ID: {0}-{0}", absent), "Timeout-Total: 7")))) ==
          0);
    CHECK(count_of(one(box.ask(refresh("Cdest-ID: nobody", "Timeout-Total: 7")))) == 0);
    CHECK(count_of(one(box.ask(refresh("Cdest-ID: cd", "Timeout-Total: 7")))) == 1);
    CHECK(one(box.ask(request("REFRESH", {id_line(id)}))).code == 433);
}

TEST_CASE("LIST tells how often and when a tap was refreshed last; before, when it was added",
          "[dtcp:8.refreshes]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Total: 60"});
    const auto added = listed(box, id);
    CHECK(number(added, Name::num_refresh) == 0);
    const auto before = value(added, Name::last_refresh);
    box.pass(5'000);
    box.ask(refresh(id_line(id), "Timeout-Total: 60"));
    box.ask(refresh(id_line(id), "Timeout-Total: 60"));
    const auto entry = listed(box, id);
    CHECK(number(entry, Name::num_refresh) == 2);
    CHECK(value(entry, Name::last_refresh) > before);
}

TEST_CASE("Timeout-Packets: installed as a limit, and the tap ends when the dataplane says so",
          "[dtcp:6.timeout-packets][dtcp:8.remaining][dtcp:9.390]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 10", "Timeout-Total: 60"});
    CHECK(box.service_of(id).packet_limit == 10);
    CHECK(box.service_of(id).byte_limit == lib::no_limit);
    box.count(id, 9, 900);
    const auto entry = listed(box, id);
    CHECK(number(entry, Name::remaining_packets) == 1);
    CHECK(number(entry, Name::timeout_packets) == 10);
    CHECK(box.ended().empty());
    box.count(id, 5, 500);
    CHECK(box.installed().empty());
    const auto ended = box.ended();
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].end == TapEnd::packets);
    CHECK(ended[0].send_async);
    CHECK(static_cast<std::uint64_t>(ended[0].id) == id);
    CHECK(ended[0].cdests == std::vector<std::string>{"cd"});
    CHECK(ended[0].specified == lib::dtcp::Timeouts{.total = 60, .packets = 10});
    CHECK(ended[0].remaining == lib::dtcp::Timeouts{.total = 60, .packets = 0});
    CHECK(one(box.ask(request("DELETE", {id_line(id)}))).code == 431);
}

TEST_CASE("Timeout-Bytes: a packet that would go beyond ends the tap, and is not counted",
          "[dtcp:6.timeout-bytes][dtcp:8.remaining]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Bytes: 1000"});
    CHECK(box.service_of(id).byte_limit == 1000);
    box.count(id, 3, 900);
    CHECK(number(listed(box, id), Name::remaining_bytes) == 100);
    box.count(id, 1, 300);
    CHECK(box.installed().empty());
    const auto ended = box.ended();
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].end == TapEnd::bytes);
}

TEST_CASE("REFRESH of a limit is answered when the dataplane has it, and counts from then",
          "[dtcp:5.refresh-timeouts]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 10"});
    box.count(id, 7, 700);
    const auto session = box.open();
    box.paused = true;
    box.send(session, refresh(id_line(id), "Timeout-Packets: 5"));
    CHECK(box.take(session).empty());
    CHECK(number(listed(box, id), Name::remaining_packets) == 3);
    box.paused = false;
    CHECK(count_of(one(box.take(session))) == 1);
    CHECK(box.service_of(id).packet_limit == 12);
    CHECK(number(listed(box, id), Name::remaining_packets) == 5);
    box.count(id, 100, 100);
    CHECK(box.installed().empty());
}

TEST_CASE("REFRESH of times only does not need the dataplane, and is answered while it is away") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Total: 10"});
    box.dataplane_dies();
    CHECK(count_of(one(box.ask(refresh(id_line(id), "Timeout-Total: 20")))) == 1);
    const auto session = box.open();
    box.send(session, refresh(id_line(id), "Timeout-Packets: 5"));
    CHECK(box.take(session).empty());
    box.pass(5'100);
    CHECK(one(box.take(session)).code == 500);
    box.dataplane_starts();
    CHECK(listed(box, id).find(Name::timeout_packets) == nullptr);
    CHECK(box.service_of(id).packet_limit == lib::no_limit);
}

TEST_CASE("a limit goes on over a restart of the dataplane with what is left of it") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 10", "Timeout-Bytes: 5000"});
    box.count(id, 4, 400);
    box.dataplane_dies();
    box.dataplane_starts();
    CHECK(box.service_of(id).packet_limit == 6);
    CHECK(box.service_of(id).byte_limit == 4600);
    CHECK(number(listed(box, id), Name::remaining_packets) == 6);
    box.count(id, 2, 200);
    box.dataplane_dies();
    box.dataplane_starts();
    CHECK(box.service_of(id).packet_limit == 4);
    box.count(id, 100, 100);
    CHECK(box.ended().size() == 1);
    CHECK(box.installed().empty());
}

TEST_CASE("a limit goes on over a restart of control, refreshed or not") {
    Box box;
    const auto plain = add(box, {"Flags: SendAsync", "Timeout-Packets: 10"});
    const auto fresh = add(box, {"Flags: SendAsync", "Timeout-Packets: 10"});
    box.count(plain, 4, 400);
    box.count(fresh, 4, 400);
    CHECK(count_of(one(box.ask(refresh(id_line(fresh), "Timeout-Packets: 20")))) == 1);
    CHECK(count_of(one(box.ask(refresh(id_line(fresh), "Timeout-Total: 50")))) == 1);
    box.control_restarts();
    CHECK(box.service_of(plain).packet_limit == 10);
    CHECK(box.service_of(fresh).packet_limit == 24);
    const auto entry = listed(box, fresh);
    CHECK(number(entry, Name::num_refresh) == 2);
    CHECK(number(entry, Name::timeout_total) == 50);
    CHECK(number(entry, Name::remaining_packets) == 20);
    box.count(plain, 100, 100);
    CHECK(box.installed() == std::vector{fresh});
}

TEST_CASE("control dies with a REFRESH on its way: the tap is as before, for dataplane and registry alike",
          "[dtcp:5.all-or-nothing]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 10"});
    const auto session = box.open();
    box.paused = true;
    box.send(session, refresh(id_line(id), "Timeout-Packets: 50"));
    box.paused = false;
    box.control_restarts();
    CHECK(box.service_of(id).packet_limit == 10);
    CHECK(number(listed(box, id), Name::num_refresh) == 0);
}

TEST_CASE("a limit that was reached while control was down ends the tap when it is back") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 3"});
    box.paused = true;  // control is not told
    box.count(id, 100, 100);
    box.paused = false;
    box.control_restarts();
    CHECK(box.installed().empty());
    REQUIRE(box.ended().size() == 1);
}

TEST_CASE("a limit reached while a REFRESH raises it: the REFRESH holds, and the tap goes on") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 3"});
    const auto session = box.open();
    box.paused = true;
    box.send(session, refresh(id_line(id), "Timeout-Packets: 50"));
    box.tasking().tap_over(lib::TapSlot{0}, lib::TapId{id}, box.now);
    box.paused = false;
    CHECK(count_of(one(box.take(session))) == 1);
    box.pass(1'000);
    CHECK(box.installed() == std::vector{id});
}

TEST_CASE("a REFRESH that the dataplane refuses is 500, and the tap is as before", "[dtcp:9.500]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 10"});
    const auto session = box.open();
    box.paused = true;
    box.send(session, refresh(id_line(id), "Timeout-Packets: 50"));
    box.poison = 0;
    box.paused = false;
    CHECK(one(box.take(session)).code == 500);
    box.poison.reset();
    CHECK(box.service_of(id).packet_limit == 10);
    CHECK(number(listed(box, id), Name::timeout_packets) == 10);
    CHECK(count_of(one(box.ask(refresh(id_line(id), "Timeout-Packets: 50")))) == 1);
}

TEST_CASE("a word of a tap that is not this one, or has no limit, ends nothing") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Packets: 10"});
    const auto fixed = add(box);
    box.tasking().tap_over(lib::TapSlot{0}, lib::TapId{id + 1}, box.now);
    box.tasking().tap_over(lib::TapSlot{1}, lib::TapId{fixed}, box.now);
    box.tasking().tap_over(lib::TapSlot{5000}, lib::TapId{id}, box.now);
    box.settle();
    CHECK(box.installed().size() == 2);
}

TEST_CASE("taps that are deleted, and NOOPs with SendAsync, are told too") {
    Box box;
    const auto id = add(box);
    box.ask(request("DELETE", {id_line(id), "Flags: Static"}));
    const auto ended = box.ended();
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].end == TapEnd::removed);
    CHECK_FALSE(ended[0].send_async);
    box.ask(request("NOOP", {"Flags: SendAsync"}));
    box.ask(request("NOOP", {}));
    CHECK(box.service().take_noops().size() == 1);
}

TEST_CASE("terms: limits of 64 bits neither wrap nor end by themselves", "[dtcp:6.timeout-range]") {
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    const auto terms = control::terms_of({.packets = most, .bytes = most}, {});
    const auto fresh = control::refreshed(terms, {.packets = most}, {.matched_packets = 5}, {});
    REQUIRE(fresh.has_value());
    CHECK(control::service_of(*fresh, {.matched_packets = 5}).packet_limit == lib::no_limit);
    CHECK(control::remaining(*fresh, 0, {.matched_packets = 6}, 0).packets == most - 6);
}

}  // namespace flowtap::test
