// The rules of dtcp.md that the service decides, one test a rule.
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

TEST_CASE("ADD is answered 200 with SEQ, CRITERIA-ID, TIMESTAMP in that order, and the tap is installed",
          "[dtcp:3.answer-seq][dtcp:5.add-answer][dtcp:8.order-add][dtcp:9.200]") {
    Box box;
    const auto response = one(box.ask(add_message(77)));
    CHECK(response.code == 200);
    REQUIRE(response.fields.size() == 3);
    CHECK(response.fields[0].name == "SEQ");
    CHECK(response.fields[0].value == "77");
    CHECK(response.fields[1].name == "CRITERIA-ID");
    CHECK(response.fields[2].name == "TIMESTAMP");
    CHECK(box.installed() == std::vector{id_of(response)});
}

TEST_CASE("ADD is not answered before the dataplane has confirmed it", "[dtcp:9.200]") {
    Box box;
    const auto session = box.open();
    box.paused = true;
    box.send(session, add_message(1));
    CHECK(box.take(session).empty());
    box.paused = false;
    CHECK(one(box.take(session)).code == 200);
}

TEST_CASE("a wrong signature is never answered: counter and event, no tap",
          "[dtcp:3.key-of-source][dtcp:3.silent-signature]") {
    Box box;
    CHECK(box.ask(message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 1"}, "a", "other")).empty());
    auto altered = add_message(1);
    altered[altered.find("10.0.0.1") + 7] = '2';
    CHECK(box.ask(altered).empty());
    CHECK(box.counter(ServiceCounter::rejected_signature) == 2);
    CHECK(box.events(SecurityReason::bad_signature) == 2);
    CHECK(box.installed().empty());
    CHECK(box.counter(ServiceCounter::requests) == 0);
}

TEST_CASE("no signature, and an ill-formed message with a wrong one, are never answered either",
          "[dtcp:3.silent-signature][dtcp:5.envelope]") {
    Box box;
    CHECK(box.ask("NOOP DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1\r\n\r\n").empty());
    CHECK(box.events(SecurityReason::no_signature) == 1);
    CHECK(box.ask(message("NOOP DTCP/0.7", {"Csource-ID: a", "rubbish"}, "a", "other")).empty());
    CHECK(box.ask(message("NOOP DTCP/9.9", {"Csource-ID: a", "Seq: 1"}, "a", "other")).empty());
    CHECK(box.events(SecurityReason::bad_signature) == 2);
}

TEST_CASE("an unknown control source, or none, is never answered",
          "[dtcp:3.silent-source][dtcp:5.envelope]") {
    Box box;
    CHECK(box.ask(message("NOOP DTCP/0.7", {"Csource-ID: zz", "Seq: 1"}, "a")).empty());
    CHECK(box.ask(message("NOOP DTCP/0.7", {"Seq: 1"}, "a")).empty());
    CHECK(box.counter(ServiceCounter::rejected_source) == 2);
    CHECK(box.events(SecurityReason::no_source) == 2);
}

TEST_CASE("an account may speak only as its own sources, with the right key too",
          "[dtcp:1.ssh-identity][dtcp:3.key-of-source][dtcp:3.silent-source]") {
    Box box;
    CHECK(box.ask(message("NOOP DTCP/0.7", {"Csource-ID: b", "Seq: 1"}, "b"), "a").empty());
    CHECK(box.events(SecurityReason::foreign_source) == 1);
    CHECK(one(box.ask(message("NOOP DTCP/0.7", {"Csource-ID: b", "Seq: 1"}, "b"), "officer"), "b").code ==
          200);
}

TEST_CASE("a malformed request is answered 400 with the offending line",
          "[dtcp:5.envelope][dtcp:9.400-form]") {
    Box box;
    const auto answer =
        box.ask(message("NOOP DTCP/0.7", {"Csource-ID: a", "this is no parameter", "Seq: 3"}));
    CHECK(one(answer).code == 400);
    CHECK(answer.find("\r\nthis is no parameter\r\n") != std::string::npos);
    CHECK(value(one(answer), lib::dtcp::Name::seq) == "3");
    CHECK(one(box.ask(message("NOOP DTCP/0.7", {"Csource-ID: a"}))).code == 400);
}

TEST_CASE("versions: answered in the request's own; too new is 505 as 0.8, too old 505 as 0.5",
          "[dtcp:4.accepted][dtcp:4.newer][dtcp:4.older][dtcp:9.505]") {
    Box box;
    CHECK(one(box.ask(message("NOOP DTCP/0.6", {"Csource-ID: a", "Seq: 1"}))).version ==
          lib::dtcp::version_0_6);
    const auto fresh = one(box.ask(message("NOOP DTCP/1.0", {"Csource-ID: a", "Seq: 1"})));
    CHECK(fresh.code == 505);
    CHECK(fresh.version == lib::dtcp::version_0_8);
    const auto old = one(box.ask(message("NOOP DTCP/0.4", {"Csource-ID: a", "Seq: 1"})));
    CHECK(old.code == 505);
    CHECK(old.version == lib::dtcp::version_0_5);
}

TEST_CASE("unknown methods are 501 with the request line", "[dtcp:9.501-method]") {
    Box box;
    const auto answer = box.ask(message("FETCH DTCP/0.7", {"Csource-ID: a", "Seq: 1"}));
    CHECK(one(answer).code == 501);
    CHECK(answer.find("FETCH DTCP/0.7") != std::string::npos);
}

TEST_CASE("what is not enforced is never accepted: 501 with the line",
          "[dtcp:7.user-name][dtcp:7.act-sess-id][dtcp:9.501-parameter]") {
    Box box;
    for (const auto line : {"X-UserName: u", "X-Act-Sess-Id: 17"}) {
        const auto answer = box.ask(add_message(1, {"Flags: SendAsync", "Timeout-Total: 60", line}));
        CHECK(one(answer).code == 501);
        CHECK(answer.find(fmt::format("\r\n{}\r\n", line)) != std::string::npos);
    }
    CHECK(box.installed().empty());
    // With Static all timeouts are ignored, and zero is as good as not given.
    CHECK(one(box.ask(add_message(1, {"Timeout-Packets: 10"}))).code == 200);
    CHECK(one(box.ask(add_message(1, {"Flags: SendAsync", "Timeout-Total: 60", "Timeout-Bytes: 0"}))).code ==
          200);
}

TEST_CASE(
    "430: a content destination by name only that is not configured, or not for this source: one answer",
    "[dtcp:7.cdest-configured][dtcp:9.430]") {
    Box box;
    const auto by_name = [&](std::string_view name) {
        const auto line = fmt::format("Cdest-ID: {}", name);
        return one(box.ask(message(
            "ADD DTCP/0.7", {"Csource-ID: a", "Seq: 1", line, "Source-Address: 10.0.0.1", "Flags: Static"})));
    };
    CHECK(by_name("known").code == 200);
    const auto missing = by_name("nobody");
    const auto foreign = by_name("theirs");
    CHECK(missing.code == 430);
    CHECK(foreign.code == 430);
    CHECK(missing.other_lines.size() == foreign.other_lines.size());
}

TEST_CASE("901: an address that the source may not deliver to, one without a route, a parameter missing",
          "[dtcp:7.not-allowed][dtcp:9.901]") {
    Box box;
    const auto outside = box.ask(add_message(1, {"X-JTap-Cdest-Dest-Address: 192.0.2.65"}));
    CHECK(one(outside).code == 901);
    CHECK(outside.find("X-JTap-Cdest-Dest-Address: 192.0.2.65") != std::string::npos);
    auto config = box_config();
    config.routes.clear();
    const auto text = add_message(1);
    const auto request = lib::dtcp::parse_request(text);
    const auto refused =
        control::admit(request, lib::dtcp::parse_add(request).value(), config, config.sources[0]);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == lib::dtcp::Code::jtap_failure);
    CHECK(one(box.ask(message("ADD DTCP/0.7", {"Csource-ID: a", "Seq: 1", "Cdest-ID: cd", "Flags: Static",
                                               "X-JTap-Cdest-Dest-Address: 192.0.2.1"})))
              .code == 901);
    CHECK(box.installed().empty());
}

TEST_CASE("432 and 433: an improper filter, no timeout; 551: too many destinations",
          "[dtcp:6.range-432][dtcp:6.reversed-432][dtcp:6.timeout-needed][dtcp:7.cdest-16][dtcp:9.432][dtcp:"
          "9.433]") {
    Box box;
    const auto reversed = box.ask(add_message(1, {"Dest-Port: 9-3", "Protocol: 6"}));
    CHECK(one(reversed).code == 432);
    CHECK(reversed.find("Dest-Port: 9-3") != std::string::npos);
    CHECK(one(box.ask(add_message(1, {"Flags: SendAsync"}))).code == 433);
    CHECK(one(box.ask(add_message(1, {"Flags: SendAsync", "Timeout-Idle: 0"}))).code == 433);
    std::string many = "Cdest-ID: c0";
    for (int i = 1; i < 17; ++i) {
        many += fmt::format(",c{}", i);
    }
    CHECK(one(box.ask(add_message(1, {many}))).code == 551);
}

TEST_CASE("550: not one tap beyond the source's max-criteria; deleting one makes room",
          "[dtcp:9.550-source]") {
    Box box;
    std::uint64_t last = 0;
    for (int i = 0; i < 4; ++i) {
        last = add(box);
    }
    CHECK(one(box.ask(add_message(1))).code == 550);
    CHECK(box.installed().size() == 4);
    CHECK(one(box.ask(remove(fmt::format("Criteria-ID: {}", last)))).code == 200);
    CHECK(one(box.ask(add_message(1))).code == 200);
}

TEST_CASE("550 counts requests that are still on their way", "[dtcp:9.550-source]") {
    Box box;
    const auto session = box.open();
    box.paused = true;
    std::string many;
    for (std::uint64_t seq = 1; seq <= 6; ++seq) {
        many += add_message(seq);
    }
    box.send(session, many);
    box.paused = false;
    const auto responses = read(box.take(session));
    REQUIRE(responses.size() == 6);
    CHECK(std::ranges::count(responses, 200, &lib::dtcp::Response::code) == 4);
    CHECK(responses[4].code == 550);
    CHECK(responses[5].code == 550);
}

TEST_CASE("two destinations in one ADD are one tap with two copies' worth of destinations",
          "[dtcp:5.add-cdest][dtcp:5.add-answer][dtcp:7.cdest-lists]") {
    Box box;
    add(box, {"CDest-ID: one,two", "X-JTap-Cdest-Dest-Address: 192.0.2.1,192.0.2.2",
              "X-JTap-Cdest-Dest-Port: 1,2"});
    const auto* const tap = box.tasking().taps().of(control::SourceIndex{0}).begin()->second;
    REQUIRE(tap->plan.destinations.size() == 2);
    CHECK(tap->plan.destinations[1].dest_address[3] == 2);
    CHECK(tap->plan.destinations[1].dest_port == 2);
    CHECK(one(box.ask(remove("Cdest-ID: two"))).find(lib::dtcp::Name::criteria_count)->starts_with('1'));
}

TEST_CASE("many ADDs of one session are pipelined: answered in order, sharing a commit",
          "[dtcp:1.ssh-pipelining][dtcp:1.ssh-reply]") {
    Box box;
    const auto session = box.open("officer");
    box.paused = true;
    const auto before = box.commits;
    std::string many;
    for (std::uint64_t seq = 1; seq <= 50; ++seq) {
        many += add_message(seq, {}, "b");
    }
    box.send(session, many);
    box.paused = false;
    const auto responses = read(box.take(session), "b");
    REQUIRE(responses.size() == 50);
    for (std::uint64_t seq = 1; seq <= 50; ++seq) {
        CHECK(responses[seq - 1].seq() == seq);
        CHECK(responses[seq - 1].code == 200);
    }
    CHECK(box.commits - before == 1);
}

TEST_CASE("an answer says what all earlier requests of the session have done", "[dtcp:5.delete-answer]") {
    Box box;
    const auto session = box.open();
    box.send(session, add_message(1) + list({}) + remove("Cdest-ID: cd") + list({}) + add_message(5));
    const auto responses = read(box.take(session));
    REQUIRE(responses.size() == 5);
    CHECK(responses[1].entries().size() == 1);
    CHECK(value(responses[2], lib::dtcp::Name::criteria_count) == "1");
    CHECK(responses[3].entries().empty());
    CHECK(responses[4].code == 200);
}

TEST_CASE("errors keep their place among answers that take longer", "[dtcp:1.ssh-reply]") {
    Box box;
    const auto session = box.open();
    box.paused = true;
    box.send(session,
             add_message(1) + message("NOOP DTCP/0.7", {"Csource-ID: a", "Seq: 2", "Flags: Nonsense"}));
    CHECK(box.take(session).empty());
    box.paused = false;
    const auto responses = read(box.take(session));
    REQUIRE(responses.size() == 2);
    CHECK(responses[0].seq() == 1U);
    CHECK(responses[1].seq() == 2U);
}

TEST_CASE("DELETE of an explicit Criteria-ID that does not exist is 431 with the line, and deletes nothing",
          "[dtcp:5.delete-unknown][dtcp:9.431]") {
    Box box;
    const auto id = add(box);
    const auto absent = id == 5 ? 6 : 5;
    const auto line = fmt::format("Criteria-ID: {},{}", id, absent);
    const auto answer = box.ask(remove(line));
    CHECK(one(answer).code == 431);
    CHECK(answer.find(line) != std::string::npos);
    CHECK(box.installed() == std::vector{id});
}

TEST_CASE("DELETE of a range deletes what exists in it; negation spares; zero is a success",
          "[dtcp:5.delete-ids][dtcp:5.delete-answer][dtcp:5.delete-range]") {
    Box box;
    const auto one_id = add(box);
    const auto two = add(box);
    CHECK(value(one(box.ask(remove(fmt::format("Criteria-ID: *,!{}", two)))),
                lib::dtcp::Name::criteria_count) == "1");
    CHECK(box.installed() == std::vector{two});
    CHECK(value(one(box.ask(remove(fmt::format("Criteria-ID: {0}-{0}", one_id)))),
                lib::dtcp::Name::criteria_count) == "0");
    CHECK(value(one(box.ask(remove("Criteria-ID: 1-*"))), lib::dtcp::Name::criteria_count) == "1");
    CHECK(box.installed().empty());
}

TEST_CASE("DELETE leaves a static tap alone without Flags: Static, and counts the truth",
          "[dtcp:5.delete-static][dtcp:5.delete-cdest]") {
    Box box;
    const auto id = add(box);
    const auto other = add(box, {"Flags: SendAsync", "Timeout-Total: 60"});
    const auto answer = box.ask(message(
        "DELETE DTCP/0.7", {"Csource-ID: a", "Seq: 1", fmt::format("Criteria-ID: {},{}", id, other)}));
    CHECK(value(one(answer), lib::dtcp::Name::criteria_count) == "1");
    CHECK(box.installed() == std::vector{id});
    CHECK(value(one(box.ask(remove("Cdest-ID: nobody"))), lib::dtcp::Name::criteria_count) == "0");
}

TEST_CASE("DELETE needs exactly one selector: 400 otherwise",
          "[dtcp:5.delete-selector][dtcp:9.400-missing]") {
    Box box;
    CHECK(one(box.ask(message("DELETE DTCP/0.7", {"Csource-ID: a", "Seq: 1"}))).code == 400);
    CHECK(one(box.ask(
                  message("DELETE DTCP/0.7", {"Csource-ID: a", "Seq: 1", "Criteria-ID: 1", "Cdest-ID: cd"})))
              .code == 400);
}

TEST_CASE(
    "sources are isolated: another's taps cannot be seen or deleted, and look like ones that do not exist",
    "[dtcp:3.isolation][dtcp:8.own]") {
    Box box;
    const auto theirs = add(box, {}, "b");
    CHECK(entries(box, "a") == 0);
    CHECK(entries(box, "b") == 1);
    const auto foreign = one(box.ask(remove(fmt::format("Criteria-ID: {}", theirs))));
    const auto absent = one(box.ask(remove(fmt::format("Criteria-ID: {}", theirs == 9 ? 8 : 9))));
    CHECK(foreign.code == 431);
    CHECK(absent.code == 431);
    CHECK(foreign.fields.size() == absent.fields.size());
    CHECK(value(one(box.ask(remove("Criteria-ID: *"))), lib::dtcp::Name::criteria_count) == "0");
    CHECK(value(one(box.ask(remove("Cdest-ID: cd"))), lib::dtcp::Name::criteria_count) == "0");
    CHECK(box.installed() == std::vector{theirs});
}

TEST_CASE("one DELETE waits for another session's DELETE of the same tap, and then tells the truth",
          "[dtcp:5.delete-answer]") {
    Box box;
    const auto id = add(box);
    const auto first = box.open();
    const auto second = box.open();
    box.paused = true;
    box.send(first, remove(fmt::format("Criteria-ID: {}", id)));
    box.send(second, remove(fmt::format("Criteria-ID: {}", id)));
    box.paused = false;
    CHECK(one(box.take(first)).code == 200);
    CHECK(one(box.take(second)).code == 431);
}

TEST_CASE(
    "a static tap that an earlier DELETE is removing is unknown to a later one, with Static or without") {
    Box box;
    const auto id = add(box);
    const auto session = box.open();
    box.paused = true;
    box.send(session, remove("Criteria-ID: *") +
                          message("DELETE DTCP/0.7",
                                  {"Csource-ID: a", "Seq: 10", fmt::format("Criteria-ID: {}", id)}));
    box.paused = false;
    const auto responses = read(box.take(session));
    REQUIRE(responses.size() == 2);
    CHECK(responses[0].code == 200);
    CHECK(responses[1].code == 431);
}

TEST_CASE("a Criteria-ID that is named and excluded at once is still unknown when it is gone") {
    Box box;
    const auto id = add(box);
    const auto session = box.open();
    box.paused = true;
    box.send(session, remove("Criteria-ID: *") +
                          message("DELETE DTCP/0.7", {"Csource-ID: a", "Seq: 10",
                                                      fmt::format("Criteria-ID: !*-{}, {}", id, id)}));
    box.paused = false;
    const auto responses = read(box.take(session));
    REQUIRE(responses.size() == 2);
    CHECK(responses[1].code == 431);
}

TEST_CASE("LIST gives each entry's parameters in Junos's order, with exact statistics",
          "[dtcp:8.matching][dtcp:8.numbered][dtcp:8.order]") {
    Box box;
    const auto id = add(box);
    box.count(id, 3, 4'500);
    const auto response = one(box.ask(list({})));
    const auto found = response.entries();
    REQUIRE(found.size() == 1);
    std::vector<std::string> names;
    for (const auto& field : found.front()) {
        names.push_back(field.name);
    }
    const std::vector<std::string> head{"CRITERIA-ID", "CSOURCE-ID", "CDEST-ID", "CSOURCE-ADDRESS"};
    CHECK(std::equal(head.begin(), head.end(), names.begin()));
    const auto place = [&](std::string_view name) { return std::ranges::find(names, name) - names.begin(); };
    CHECK(place("FLAGS") < place("X-JTAP-CDEST-DEST-ADDRESS"));
    CHECK(place("X-JTAP-CDEST-SOURCE-PORT") < place("MATCHING-PACKETS"));
    CHECK(place("MATCHING-BYTES") < place("CRITERIA-NUM"));
    CHECK(names.back() == "CRITERIA-COUNT");
    CHECK(value(response, lib::dtcp::Name::criteria_id) == std::to_string(id));
    CHECK(value(response, lib::dtcp::Name::matching_packets) == "3");
    CHECK(value(response, lib::dtcp::Name::matching_bytes) == "4500");
    CHECK(value(response, lib::dtcp::Name::criteria_num) == "1");
    CHECK(value(response, lib::dtcp::Name::criteria_count) == "1");
}

TEST_CASE("LIST: Flags choose criteria or statistics; selectors choose entries; nothing found is 200",
          "[dtcp:5.list-selector][dtcp:5.list-flags][dtcp:8.criteria][dtcp:8.none][dtcp:8.one-cdest]") {
    Box box;
    const auto id = add(box);
    add(box, {"Cdest-ID: other"});
    const auto criteria = one(box.ask(list({"Flags: Criteria"})));
    CHECK(criteria.find(lib::dtcp::Name::source_address) != nullptr);
    CHECK(criteria.find(lib::dtcp::Name::matching_packets) == nullptr);
    const auto statistics = one(box.ask(list({"Flags:  STATS"})));
    CHECK(statistics.find(lib::dtcp::Name::source_address) == nullptr);
    CHECK(statistics.find(lib::dtcp::Name::matching_packets) != nullptr);
    CHECK(one(box.ask(list({fmt::format("Criteria-ID: {}", id)}))).entries().size() == 1);
    CHECK(one(box.ask(list({"Cdest-ID: other"}))).entries().size() == 1);
    CHECK(one(box.ask(list({"Cdest-ID: nobody"}))).entries().empty());
    CHECK(one(box.ask(list({fmt::format("Criteria-ID: {}", id == 3 ? 4 : 3)}))).code == 200);
    CHECK(one(box.ask(list({"Cdest-ID: cd,other"}))).code == 400);
}

TEST_CASE("AVERAGE-BANDWIDTH is over the last 10 s", "[dtcp:8.bandwidth]") {
    Box box;
    const auto id = add(box);
    const auto bandwidth = [&] {
        return std::stoull(value(one(box.ask(list({"Flags: Stats"}))), lib::dtcp::Name::average_bandwidth));
    };
    box.pass(20'000);
    CHECK(bandwidth() == 0);
    for (int second = 0; second < 20; ++second) {
        box.count(id, 1, 1'000);
        box.pass(1'000);
    }
    CHECK(bandwidth() == Approx(8'000).epsilon(0.1));
    box.pass(5'000);
    CHECK(bandwidth() == Approx(4'000).epsilon(0.15));
    box.pass(7'000);
    CHECK(bandwidth() == 0);
}

TEST_CASE("Timeout-Total ends a tap, used or not; LIST says what remains",
          "[dtcp:6.timeout-total][dtcp:8.remaining]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Total: 3"});
    box.pass(1'000);
    box.count(id, 1, 100);
    CHECK(value(one(box.ask(list({}))), lib::dtcp::Name::remaining_total) == "2");
    box.pass(1'900);
    CHECK(box.installed().size() == 1);
    box.pass(200);
    CHECK(box.installed().empty());
    CHECK(entries(box) == 0);
    CHECK(one(box.ask(remove(fmt::format("Criteria-ID: {}", id)))).code == 431);
}

TEST_CASE("Timeout-Idle ends a tap that matches nothing, and no other; a dead dataplane is no idleness",
          "[dtcp:6.timeout-idle]") {
    Box box;
    const auto used = add(box, {"Flags: SendAsync", "Timeout-Idle: 3"});
    const auto unused = add(box, {"Flags: SendAsync", "Timeout-Idle: 3"});
    for (int second = 0; second < 6; ++second) {
        box.count(used, 1, 100);
        box.pass(1'000);
    }
    CHECK(box.installed() == std::vector{used});
    CHECK(used != unused);
    box.dataplane_dies();
    box.pass(10'000);
    CHECK(box.tasking().taps().size() == 1);
    box.dataplane_starts();
    box.pass(4'500);
    CHECK(box.installed().empty());
}

TEST_CASE("Timeout-Total ends a tap in time whose idleness nobody can judge, while the dataplane is away",
          "[dtcp:6.timeout-total]") {
    Box box;
    const auto id = add(box, {"Flags: SendAsync", "Timeout-Idle: 10", "Timeout-Total: 11"});
    box.pass(500);
    box.count(id, 1, 100);
    box.pass(100);
    box.dataplane_dies();
    box.pass(10'100);
    CHECK(box.tasking().taps().size() == 1);
    box.dataplane_starts();
    box.pass(400);
    CHECK(box.installed().empty());
}

TEST_CASE("a static tap never ends by itself", "[dtcp:6.static]") {
    Box box;
    add(box, {"Flags: Static", "Timeout-Total: 1", "Timeout-Idle: 1"});
    box.pass(5'000);
    CHECK(box.installed().size() == 1);
}

}  // namespace flowtap::test
