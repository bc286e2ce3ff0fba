// Redirect and Block (dtcp.md section 5): who may, what the dataplane is told, and when it ends.
#include "control/alerts.h"
#include "control/notifier.h"
#include "test/unit/control/dialogue.h"

#include <string>

namespace flowtap::test {

namespace {

using lib::TapAction;

/// Source a may do both, source b may block.
const lib::Config& privileged() {
    static const lib::Config config = [] {
        auto result = box_config();
        result.sources[0].actions = {lib::PrivilegedAction::redirect, lib::PrivilegedAction::block};
        result.sources[1].actions = {lib::PrivilegedAction::block};
        return result;
    }();
    return config;
}

}  // namespace

TEST_CASE("an allowed action is the tap's in the dataplane, and stands in its LIST; another tap copies",
          "[dtcp:9.redirect][dtcp:9.block][dtcp:5.add-action]") {
    Box box{privileged()};
    const auto redirects = add(box, {"Action: redirect"});
    const auto blocks = add(box, {"ACTION: Block"});
    const auto copies = add(box, {"Action: Copy"});
    const auto plain = add(box);
    CHECK(box.action_of(redirects) == TapAction::redirect);
    CHECK(box.action_of(blocks) == TapAction::block);
    CHECK(box.action_of(copies) == TapAction::copy);
    CHECK(box.action_of(plain) == TapAction::copy);
    const auto shown = [&](std::uint64_t id) {
        return value(one(box.ask(list({fmt::format("Criteria-ID: {}", id)}))), lib::dtcp::Name::action);
    };
    CHECK(shown(redirects) == "redirect");
    CHECK(shown(blocks) == "Block");
    CHECK(shown(copies) == "Copy");
    CHECK(shown(plain).empty());
}

TEST_CASE("each action has to be allowed by itself, and to this source: else 501 with the line, and no tap",
          "[dtcp:9.501-action]") {
    Box box{privileged()};
    const auto answer = box.ask(add_message(1, {"Action: Redirect"}, "b"), "b");
    CHECK(one(answer, "b").code == 501);
    CHECK(answer.find("\r\nAction: Redirect\r\n") != std::string::npos);
    CHECK(box.installed().empty());
    CHECK(box.action_of(add(box, {"Action: Block"}, "b")) == TapAction::block);
    Box nobody;
    for (const auto line : {"Action: Redirect", "Action: Block"}) {
        CHECK(one(nobody.ask(add_message(1, {line}))).code == 501);
    }
    CHECK(nobody.installed().empty());
}

TEST_CASE("whole frames are only copied: 501 with the line", "[dtcp:9.501-action]") {
    Box box{privileged()};
    for (const auto line : {"Action: Redirect", "Action: Block"}) {
        // add_message names a source address, which a tap of whole frames may not.
        const auto text =
            message("ADD DTCP/0.8", {"Csource-ID: a", "Seq: 1", "Cdest-ID: known", "Flags: Static", line,
                                     "X-JTap-Input-Interface: trunk", "X-JTap-Filter-Family: ccc"});
        const auto answer = box.ask(text);
        CHECK(one(answer).code == 501);
        CHECK(answer.find(fmt::format("\r\n{}\r\n", line)) != std::string::npos);
    }
    CHECK(box.installed().empty());
    CHECK(one(box.ask(message("ADD DTCP/0.8",
                              {"Csource-ID: a", "Seq: 1", "Cdest-ID: known", "Flags: Static", "Action: Copy",
                               "X-JTap-Input-Interface: trunk", "X-JTap-Filter-Family: ccc"})))
              .code == 200);
}

TEST_CASE("a REFRESH leaves the action as it is, and so do deaths; a right that was taken away takes the tap",
          "[dtcp:9.block]") {
    auto config = privileged();
    Box box{config};
    const auto blocks = add(box, {"Action: Block", "Flags: SendAsync", "Timeout-Packets: 60"});
    const auto copies = add(box);
    box.ask(request("REFRESH", {fmt::format("Criteria-ID: {}", blocks), "Timeout-Packets: 70"}));
    CHECK(box.action_of(blocks) == TapAction::block);
    CHECK(box.service_of(blocks).packet_limit == 70);
    box.dataplane_dies();
    box.dataplane_starts();
    CHECK(box.action_of(blocks) == TapAction::block);
    box.control_restarts();
    CHECK(box.action_of(blocks) == TapAction::block);
    CHECK(box.action_of(copies) == TapAction::copy);
    config.sources[0].actions = {lib::PrivilegedAction::redirect};
    box.control_restarts();
    CHECK(box.installed() == std::vector{copies});
}

TEST_CASE("a tap that stops frames is gone from the dataplane with its timeout, its limit and its DELETE",
          "[dtcp:9.block][dtcp:9.redirect]") {
    Box box{privileged()};
    const auto timed = add(box, {"Action: Block", "Flags: SendAsync", "Timeout-Total: 2"});
    const auto limited = add(box, {"Action: Redirect", "Flags: SendAsync", "Timeout-Packets: 5"});
    const auto deleted = add(box, {"Action: Block"});
    CHECK(box.installed().size() == 3);
    box.count(limited, 9, 900);
    box.pass(200);
    CHECK(box.installed() == std::vector{std::min(timed, deleted), std::max(timed, deleted)});
    box.pass(2'000);
    CHECK(box.installed() == std::vector{deleted});
    CHECK(count_of(one(box.ask(remove(fmt::format("Criteria-ID: {}", deleted))))) == 1);
    CHECK(box.installed().empty());
}

TEST_CASE("what is blocked loads no content destination: it purges nobody, and is not purged",
          "[dtcp:9.680]") {
    Box box{privileged()};
    control::Notifier notifier{box.sources(), box.service().counters()};
    control::Alerts alerts{privileged(), box.tasking(), notifier, box.service().counters()};
    const auto add_known = [&](std::string_view action) {
        return id_of(one(box.ask(
            request("ADD", {"Cdest-ID: known", "Source-Address: 10.0.0.1", "Flags: Static", action}))));
    };
    const auto blocks = add_known("Action: Block");
    const auto redirects = add_known("Action: Redirect");
    // Far above the hard limit of "known", for longer than the averages reach back.
    const auto load = [&](std::uint64_t tap) {
        for (int second = 0; second < 15 && box.criterion(tap); ++second) {
            box.count(tap, 1'000, 1'000'000);
            box.pass(1'000);
            alerts.tick(box.now);
            box.settle();
        }
    };
    load(blocks);
    CHECK(box.installed().size() == 2);
    load(redirects);
    CHECK(box.installed() == std::vector{blocks});
}

}  // namespace flowtap::test
