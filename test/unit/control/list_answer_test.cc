// What an entry of a LIST answer holds, in which order, and of which moment (dtcp.md section 8).
#include "control/list_answer.h"

#include "test/unit/control/dialogue.h"

#include <algorithm>
#include <limits>

namespace flowtap::test {

namespace {

using lib::dtcp::Name;

std::vector<std::string> names_of(const std::vector<lib::dtcp::ResponseField>& fields) {
    std::vector<std::string> names;
    std::ranges::transform(fields, std::back_inserter(names), &lib::dtcp::ResponseField::name);
    return names;
}

}  // namespace

TEST_CASE("LIST is of the moment of the request: no change and no packet after it is in the answer",
          "[dtcp:8.snapshot]") {
    Box box;
    const auto first = add(box);
    const auto second = add(box, {"Flags: SendAsync", "Timeout-Total: 60"});
    box.count(first, 3, 300);
    auto& source = box.sources().at(control::SourceIndex{0});
    control::ListAnswer answer{box.tasking(),
                               source,
                               {.selector = {}, .criteria = true, .statistics = true},
                               lib::dtcp::version_0_7,
                               1,
                               box.now,
                               std::numeric_limits<std::size_t>::max()};
    box.count(first, 100, 10'000);
    box.pass(30'000);
    CHECK(count_of(one(box.ask(request("DELETE", {fmt::format("Criteria-ID: {}", second)})))) == 1);
    add(box);
    while (!answer.advance()) {
    }
    const auto response = one(answer.take());
    const auto found = response.entries();
    REQUIRE(found.size() == 2);
    for (const auto& entry : found) {
        const auto of = [&](std::string_view name) {
            const auto field = std::ranges::find(entry, name, &lib::dtcp::ResponseField::name);
            return field == entry.end() ? std::string{} : field->value;
        };
        const bool is_first = of("CRITERIA-ID") == std::to_string(first);
        CHECK(of("CRITERIA-COUNT") == "2");
        CHECK(of("MATCHING-PACKETS") == (is_first ? "3" : "0"));
        CHECK(of("REMAINING-TOTAL") == (is_first ? "" : "60"));
    }
}

TEST_CASE("an entry says who made it, from where, and when it was added", "[dtcp:8.entry]") {
    Box box;
    const auto at_noon = box.service().open({"a", lib::parse_address("198.51.100.77").value()});
    const auto added = lib::dtcp::to_string(box.now.timestamp());
    box.send(at_noon, add_message(1, {"Cdest-ID: cd1"}));
    CHECK(one(box.take(at_noon)).code == 200);
    box.pass(90'000);
    const auto response = one(box.ask(request("LIST", {"Flags: Stats"})));
    const auto found = response.entries();
    REQUIRE(found.size() == 1);
    const auto& entry = found.front();
    const std::vector<std::string> head{"CRITERIA-ID", "CSOURCE-ID", "CDEST-ID", "CSOURCE-ADDRESS",
                                        "TIMESTAMP"};
    const auto names = names_of({entry.begin(), entry.end()});
    REQUIRE(names.size() > head.size());
    CHECK(std::equal(head.begin(), head.end(), names.begin()));
    CHECK(entry[1].value == "a");
    CHECK(entry[2].value == "cd1");
    CHECK(entry[3].value == "198.51.100.77");
    CHECK(entry[4].value == added);
    CHECK(value(response, Name::timestamp) == lib::dtcp::to_string(box.now.timestamp()));
    CHECK(added != lib::dtcp::to_string(box.now.timestamp()));
}

TEST_CASE("an entry says what was given, all of it, in Junos's order whatever the ADD's",
          "[dtcp:8.criteria][dtcp:8.order]") {
    Box box;
    const std::vector<std::string_view> given{"X-IP-Addr: 10.0.0.7",
                                              "X-JTap-IP-Version: ipv4",
                                              "X-JTap-Input-Interface: a.5, trunk",
                                              "X-JTap-Cdest-TTL: 9",
                                              "X-JTap-Cdest-Source-Port: 5001",
                                              "X-JTap-Cdest-Source-Address: 203.0.113.1",
                                              "X-JTap-Cdest-Dest-Port: 5000",
                                              "X-JTap-Cdest-Dest-Address: 192.0.2.1",
                                              "Flags: SendAsync",
                                              "Action: copy",
                                              "Priority: 7",
                                              "Timeout-Total: 70",
                                              "Timeout-Idle: 60",
                                              "Dest-Port: 53,!54",
                                              "Source-Port: 1024-*",
                                              "Protocol: 17",
                                              "Dest-Address: !10.0.0.9",
                                              "Source-Address: 10.0.0.0/24",
                                              "Cdest-ID: cd"};
    std::string text = "ADD DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1";
    for (const auto line : given) {
        text += fmt::format("\r\n{}", line);
    }
    id_of(one(box.ask(message(text, {}))));
    const auto response = one(box.ask(request("LIST", {})));
    const auto found = response.entries();
    REQUIRE(found.size() == 1);
    const auto& entry = found.front();
    CHECK(names_of({entry.begin(), entry.end()}) == std::vector<std::string>{"CRITERIA-ID",
                                                                             "CSOURCE-ID",
                                                                             "CDEST-ID",
                                                                             "CSOURCE-ADDRESS",
                                                                             "TIMESTAMP",
                                                                             "SOURCE-ADDRESS",
                                                                             "DEST-ADDRESS",
                                                                             "PROTOCOL",
                                                                             "SOURCE-PORT",
                                                                             "DEST-PORT",
                                                                             "TIMEOUT-IDLE",
                                                                             "TIMEOUT-TOTAL",
                                                                             "PRIORITY",
                                                                             "ACTION",
                                                                             "FLAGS",
                                                                             "X-JTAP-CDEST-DEST-ADDRESS",
                                                                             "X-JTAP-CDEST-DEST-PORT",
                                                                             "X-JTAP-CDEST-SOURCE-ADDRESS",
                                                                             "X-JTAP-CDEST-SOURCE-PORT",
                                                                             "X-JTAP-CDEST-TTL",
                                                                             "X-JTAP-INPUT-INTERFACE",
                                                                             "X-JTAP-IP-VERSION",
                                                                             "X-IP-ADDR",
                                                                             "REMAINING-IDLE",
                                                                             "REMAINING-TOTAL",
                                                                             "AVERAGE-BANDWIDTH",
                                                                             "MATCHING-PACKETS",
                                                                             "MATCHING-BYTES",
                                                                             "NUM-REFRESH",
                                                                             "LAST-REFRESH",
                                                                             "CRITERIA-NUM",
                                                                             "CRITERIA-COUNT"});
    for (const auto line : given) {
        const auto name = line.substr(0, line.find(':'));
        const auto field = std::ranges::find_if(entry, [&](const auto& candidate) {
            return lib::dtcp::equal_ignoring_case(candidate.name, name);
        });
        REQUIRE(field != entry.end());
        CHECK(field->value == line.substr(line.find(':') + 2));
    }
}

}  // namespace flowtap::test
