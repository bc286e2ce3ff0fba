#include "lib/dtcp/add.h"

#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <string>
#include <string_view>

namespace flowtap::test {
namespace {

using dtcp::Code;

TEST_CASE("5: ADD needs a Cdest-ID: one, or a comma list", "[dtcp][dtcp:5.add-cdest][dtcp:9.400-missing]") {
    CHECK(fails_with(bare_add({"Flags: Static"}), Code::bad_request, ""));
    const auto one = bare_add({"Flags: Static", "Cdest-ID: cd1"});
    REQUIRE(one);
    CHECK(one->cdests == std::vector<dtcp::Cdest>{{.id = "cd1"}});
    CHECK(one->cdest_ids == "cd1");
    const auto list = bare_add({"Flags: Static", "Cdest-ID: cd1 , c\\044d2,!x"});
    REQUIRE(list);
    CHECK(list->cdests == std::vector<dtcp::Cdest>{{.id = "cd1"}, {.id = "c,d2"}, {.id = "!x"}});
    CHECK(list->cdest_ids == "cd1 , c\\044d2,!x");
    for (const std::string_view bad : {"Cdest-ID:", "Cdest-ID: a,", "Cdest-ID: a,,b", "Cdest-ID: \\0",
                                       "Cdest-ID: a\\000", "Cdest-ID: \\200"}) {
        CHECK(fails_with(bare_add({"Flags: Static", bad}), Code::bad_request, bad));
    }
}

TEST_CASE("5: a content destination twice in one ADD is 400", "[dtcp][dtcp:5.add-cdest]") {
    CHECK(fails_with(bare_add({"Flags: Static", "Cdest-ID: a,b,a"}), Code::bad_request, "Cdest-ID: a,b,a"));
}

TEST_CASE("9: more than 16 content destinations are 551", "[dtcp][dtcp:7.cdest-16]") {
    std::string line = "Cdest-ID: c0";
    for (int i = 1; i < 16; ++i) {
        line += ",c" + std::to_string(i);
    }
    CHECK(bare_add({"Flags: Static", line})->cdests.size() == 16);
    line += ",c16";
    CHECK(fails_with(bare_add({"Flags: Static", line}), Code::too_many_cdests, line));
}

TEST_CASE("5: Priority is 1..255, default 1", "[dtcp][dtcp:5.add-priority][dtcp:9.400-range]") {
    CHECK(add({})->priority == 1);
    CHECK(add({"Priority: 1"})->priority == 1);
    CHECK(add({"Priority: 255"})->priority == 255);
    for (const std::string_view bad :
         {"Priority: 0", "Priority: 256", "Priority: -1", "Priority:", "Priority: high"}) {
        CHECK(fails_with(add({bad}), Code::bad_request, bad));
    }
}

TEST_CASE("5: Action is Copy, Redirect or Block, default Copy; another is 501 with its line",
          "[dtcp][dtcp:5.add-action][dtcp:9.501-value]") {
    CHECK(add({})->action == dtcp::Action::copy);
    CHECK(add({})->action_line.empty());
    CHECK(add({"Action: COPY"})->action == dtcp::Action::copy);
    CHECK(add({"Action: redirect"})->action == dtcp::Action::redirect);
    CHECK(add({"Action: Block"})->action == dtcp::Action::block);
    CHECK(add({"Action: Block"})->action_line == "Action: Block");
    CHECK(fails_with(add({"Action: Drop"}), Code::not_implemented, "Action: Drop"));
    CHECK(fails_with(add({"Action:"}), Code::not_implemented, "Action:"));
}

TEST_CASE("5: Flags of ADD are Static and SendAsync regardless of case; another is 501 with its line",
          "[dtcp][dtcp:5.add-flags][dtcp:9.501-value]") {
    const auto both = bare_add({"Cdest-ID: a", "Flags: STATIC , sendasync"});
    REQUIRE(both);
    CHECK(both->is_static);
    CHECK(both->send_async);
    CHECK_FALSE(add({})->send_async);
    for (const std::string_view bad :
         {"Flags: Both", "Flags: Static,Fast", "Flags: Static,", "Flags: Sta tic"}) {
        CHECK(fails_with(bare_add({"Cdest-ID: a", bad}), Code::not_implemented, bad));
    }
    CHECK(fails_with(bare_add({"Cdest-ID: a", "Flags:"}), Code::bad_request, "Flags:"));
}

TEST_CASE("6: at least one timeout that is not zero, or Static; otherwise 433",
          "[dtcp][dtcp:6.timeout-needed][dtcp:9.433]") {
    CHECK(fails_with(bare_add({"Cdest-ID: a"}), Code::improper_timeout, ""));
    CHECK(fails_with(bare_add({"Cdest-ID: a", "Timeout-Bytes: 0", "Timeout-Idle: 0"}), Code::improper_timeout,
                     "Timeout-Idle: 0"));
    CHECK(fails_with(bare_add({"Cdest-ID: a", "Flags: SendAsync"}), Code::improper_timeout, ""));
    CHECK(bare_add({"Cdest-ID: a", "Timeout-Idle: 1"})->timeouts == dtcp::Timeouts{.idle = 1});
    CHECK(bare_add({"Cdest-ID: a", "Timeout-Total: 1"})->timeouts == dtcp::Timeouts{.total = 1});
    CHECK(bare_add({"Cdest-ID: a", "Timeout-Packets: 1"})->timeouts == dtcp::Timeouts{.packets = 1});
    CHECK(bare_add({"Cdest-ID: a", "Timeout-Bytes: 1"})->timeouts == dtcp::Timeouts{.bytes = 1});
    CHECK_FALSE(bare_add({"Cdest-ID: a", "Timeout-Bytes: 1"})->is_static);
}

TEST_CASE(
    "6: Timeout-Idle and Timeout-Total are 0..86400 s, packets and bytes 64 bit; else 433 with the line",
    "[dtcp][dtcp:6.timeout-range]") {
    const auto most =
        bare_add({"Cdest-ID: a", "Timeout-Idle: 86400", "Timeout-Total: 86400",
                  "Timeout-Packets: 18446744073709551615", "Timeout-Bytes: 18446744073709551615"});
    REQUIRE(most);
    CHECK(most->timeouts == dtcp::Timeouts{86400, 86400, ~std::uint64_t{0}, ~std::uint64_t{0}});
    for (const std::string_view bad :
         {"Timeout-Idle: 86401", "Timeout-Total: 86401", "Timeout-Packets: 18446744073709551616",
          "Timeout-Bytes: 18446744073709551616", "Timeout-Idle: -1", "Timeout-Total: 1h", "Timeout-Bytes:"}) {
        CHECK(fails_with(bare_add({"Cdest-ID: a", bad}), Code::improper_timeout, bad));
    }
}

TEST_CASE("6: with Static all timeouts are ignored", "[dtcp][dtcp:6.static]") {
    const auto ignored = add({"Timeout-Idle: 600", "Timeout-Bytes: nonsense"});
    REQUIRE(ignored);
    CHECK(ignored->is_static);
    CHECK(ignored->timeouts == dtcp::Timeouts{});
    CHECK(ignored->given.find("TIMEOUT") == std::string::npos);
}

TEST_CASE("6: the filter of an ADD is its criterion, and a bad one refuses the ADD",
          "[dtcp][dtcp:5.add-filter][dtcp:9.432]") {
    const auto good = add({"Source-Address: 10.0.0.1", "Dest-Port: 53,80", "Protocol: 17"});
    REQUIRE(good);
    CHECK(good->criterion.source_address.size() == 1);
    CHECK(good->criterion.dest_port.size() == 2);
    CHECK(fails_with(add({"Dest-Port: 99999"}), Code::improper_filter, "Dest-Port: 99999"));
}

TEST_CASE("8: what LIST repeats is what was given, in our spelling and Junos's order",
          "[dtcp][dtcp:2.any-order][dtcp:2.upper-case][dtcp:8.criteria][dtcp:8.order]") {
    const auto given =
        bare_add({"X-MD-Intercept-Id: 0x0123456789abcdef", "flags:  sendasync", "x-jtap-cdest-ttl: 64",
                  "X-JTap-Cdest-Source-Port: 1000", "X-JTap-Cdest-Source-Address: 10.9.9.9",
                  "X-JTap-Cdest-Dest-Port: 2000", "X-JTap-Cdest-Dest-Address: 10.8.8.8", "CDest-ID: cd1",
                  "Timeout-Idle: 5", "Dest-Port: 53 , !54", "Protocol: 17", "source-address: 10.0.0.0/8",
                  "X-Other: 1", "Action: copy", "Priority: 3"});
    REQUIRE(given);
    CHECK(given->given_filter ==
          lines({"SOURCE-ADDRESS: 10.0.0.0/8", "PROTOCOL: 17", "DEST-PORT: 53 , !54"}));
    CHECK(given->given == lines({"PRIORITY: 3", "ACTION: copy", "FLAGS: sendasync",
                                 "X-JTAP-CDEST-DEST-ADDRESS: 10.8.8.8", "X-JTAP-CDEST-DEST-PORT: 2000",
                                 "X-JTAP-CDEST-SOURCE-ADDRESS: 10.9.9.9", "X-JTAP-CDEST-SOURCE-PORT: 1000",
                                 "X-JTAP-CDEST-TTL: 64", "X-MD-INTERCEPT-ID: 0x0123456789abcdef"}));
}

TEST_CASE("2: a failure of the form is the failure of the typed request", "[dtcp]") {
    CHECK(fails_with(add({"Colour: blue"}), Code::not_implemented, "Colour: blue"));
    CHECK(fails_with(add({"no colon"}), Code::bad_request, "no colon"));
    CHECK(fails_with(add({}, "0.9"), Code::version_not_supported, "ADD DTCP/0.9"));
}

}  // namespace
}  // namespace flowtap::test
