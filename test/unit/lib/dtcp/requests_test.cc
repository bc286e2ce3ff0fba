#include "lib/dtcp/requests.h"

#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

using dtcp::CdestId;
using dtcp::Code;
using dtcp::CriteriaIds;
using dtcp::IdTerm;

template <auto Parse>
auto parse(std::string_view method, std::initializer_list<std::string_view> texts) {
    const std::string raw = whole(method, texts);
    return Parse(dtcp::parse_request(raw));
}

auto delete_(std::initializer_list<std::string_view> texts) {
    return parse<dtcp::parse_delete>("DELETE", texts);
}
auto refresh(std::initializer_list<std::string_view> texts) {
    return parse<dtcp::parse_refresh>("REFRESH", texts);
}
auto list(std::initializer_list<std::string_view> texts) {
    return parse<dtcp::parse_list>("LIST", texts);
}
auto noop(std::initializer_list<std::string_view> texts) {
    return parse<dtcp::parse_noop>("NOOP", texts);
}
auto enable(std::initializer_list<std::string_view> texts) {
    return parse<dtcp::parse_policy>("ENABLE", texts);
}

TEST_CASE("5: DELETE and REFRESH take exactly one of Criteria-ID and Cdest-ID",
          "[dtcp][dtcp:5.delete-selector][dtcp:5.refresh-selector]") {
    CHECK(fails_with(delete_({}), Code::bad_request, ""));
    CHECK(fails_with(delete_({"Cdest-ID: a", "Criteria-ID: 1"}), Code::bad_request, "Criteria-ID: 1"));
    CHECK(fails_with(delete_({"Criteria-ID: 1", "Cdest-ID: a"}), Code::bad_request, "Cdest-ID: a"));
    CHECK(fails_with(refresh({"Timeout-Idle: 1"}), Code::bad_request, ""));
    CHECK(fails_with(refresh({"Timeout-Idle: 1", "Criteria-ID: 1", "Cdest-ID: a"}), Code::bad_request,
                     "Cdest-ID: a"));
    const auto by_cdest = delete_({"Cdest-ID: c\\044d"});
    REQUIRE(by_cdest);
    CHECK(std::get<CdestId>(by_cdest->selector).id == "c,d");
    CHECK(std::get<CdestId>(by_cdest->selector).line == "Cdest-ID: c\\044d");
}

TEST_CASE("5: Criteria-ID is a list of numbers, ranges and !", "[dtcp][dtcp:5.delete-ids]") {
    const auto parsed = delete_({"Criteria-ID: 5,10-20 , !15,!17-18,30-*,*-2"});
    REQUIRE(parsed);
    const auto& ids = std::get<CriteriaIds>(parsed->selector);
    CHECK(ids.terms == std::vector<IdTerm>{{5, 5, false, false},
                                           {10, 20, false, true},
                                           {15, 15, true, false},
                                           {17, 18, true, true},
                                           {30, ~std::uint64_t{0}, false, true},
                                           {0, 2, false, true}});
    CHECK(ids.line == "Criteria-ID: 5,10-20 , !15,!17-18,30-*,*-2");
    for (const std::uint64_t selected : {0U, 2U, 5U, 10U, 14U, 16U, 19U, 20U, 30U, 4'000'000'000U}) {
        CHECK(ids.selects(selected));
    }
    for (const std::uint64_t left : {3U, 4U, 6U, 9U, 15U, 17U, 18U, 21U, 29U}) {
        CHECK_FALSE(ids.selects(left));
    }
    CHECK(std::get<CriteriaIds>(delete_({"Criteria-ID: *"})->selector).selects(12345));
    CHECK_FALSE(std::get<CriteriaIds>(delete_({"Criteria-ID: !7"})->selector).selects(7));
    CHECK(std::get<CriteriaIds>(delete_({"Criteria-ID: !7"})->selector).selects(8));
    CHECK(std::get<CriteriaIds>(delete_({"Criteria-ID: 18446744073709551615"})->selector)
              .selects(~std::uint64_t{0}));
}

TEST_CASE("5: a number by itself is told apart from a range: only it can be unknown (431)",
          "[dtcp][dtcp:5.delete-ids]") {
    const auto parsed = delete_({"Criteria-ID: 5,5-5"});
    REQUIRE(parsed);
    CHECK(std::get<CriteriaIds>(parsed->selector).terms ==
          std::vector<IdTerm>{{5, 5, false, false}, {5, 5, false, true}});
}

TEST_CASE("9: a bad Criteria-ID list is 400 with its line", "[dtcp][dtcp:9.400-range]") {
    for (const std::string_view bad :
         {"Criteria-ID:", "Criteria-ID: x", "Criteria-ID: 2-1", "Criteria-ID: 1,,2", "Criteria-ID: -1",
          "Criteria-ID: 18446744073709551616", "Criteria-ID: *-*"}) {
        CHECK(fails_with(delete_({bad}), Code::bad_request, bad));
    }
    std::string line = "Criteria-ID: 1";
    for (int i = 1; i < 1024; ++i) {
        line += ",1";
    }
    CHECK(delete_({line}));
    line += ",1";
    CHECK(fails_with(delete_({line}), Code::bad_request, line));
}

TEST_CASE("8: more than one Cdest-ID in a LIST or DELETE is 400", "[dtcp][dtcp:8.one-cdest]") {
    CHECK(fails_with(list({"CDest-ID: cd1,cd2"}), Code::bad_request, "CDest-ID: cd1,cd2"));
    CHECK(fails_with(delete_({"CDest-ID: cd1,cd2"}), Code::bad_request, "CDest-ID: cd1,cd2"));
}

TEST_CASE("5: DELETE's Flags: Static deletes static criteria too", "[dtcp][dtcp:5.delete-static]") {
    CHECK(delete_({"Criteria-ID: 1", "Flags: STATIC"})->including_static);
    CHECK_FALSE(delete_({"Criteria-ID: 1"})->including_static);
    CHECK(fails_with(delete_({"Criteria-ID: 1", "Flags: SendAsync"}), Code::not_implemented,
                     "Flags: SendAsync"));
}

TEST_CASE("5: REFRESH has one or more timeouts, in range; none is 433",
          "[dtcp][dtcp:5.refresh-timeouts][dtcp:6.timeout-range]") {
    const auto parsed = refresh({"Criteria-ID: 1", "Timeout-Idle: 0", "Timeout-Packets: 9"});
    REQUIRE(parsed);
    CHECK(parsed->timeouts == dtcp::Timeouts{.idle = 0, .packets = 9});
    CHECK(fails_with(refresh({"Criteria-ID: 1"}), Code::improper_timeout, ""));
    CHECK(fails_with(refresh({"Criteria-ID: 1", "Timeout-Total: 86401"}), Code::improper_timeout,
                     "Timeout-Total: 86401"));
}

TEST_CASE("5: LIST has optional Criteria-ID or Cdest-ID, and Flags Criteria, Stats or Both (default)",
          "[dtcp][dtcp:5.list-selector][dtcp:5.list-flags]") {
    const auto all = list({});
    REQUIRE(all);
    CHECK(std::holds_alternative<std::monostate>(all->selector));
    CHECK((all->criteria && all->statistics));
    CHECK(std::get<CdestId>(list({"Cdest-ID: a"})->selector).id == "a");
    CHECK(std::get<CriteriaIds>(list({"Criteria-ID: 4-5"})->selector).selects(5));
    CHECK(fails_with(list({"Cdest-ID: a", "Criteria-ID: 1"}), Code::bad_request, "Criteria-ID: 1"));
    const auto criteria = list({"Flags: criteria"});
    CHECK((criteria->criteria && !criteria->statistics));
    const auto stats = list({"Flags: STATS"});
    CHECK((!stats->criteria && stats->statistics));
    for (const std::string_view flags : {"Flags:  BOTH", "Flags: Criteria,Stats", "Flags: Stats,Both"}) {
        const auto both = list({flags});
        REQUIRE(both);
        CHECK((both->criteria && both->statistics));
    }
    CHECK(fails_with(list({"Flags: Static"}), Code::not_implemented, "Flags: Static"));
}

TEST_CASE("5: NOOP has optional Flags: SendAsync", "[dtcp][dtcp:5.noop][dtcp:5.noop-async]") {
    CHECK_FALSE(noop({})->send_async);
    CHECK(noop({"Flags: sendAsync"})->send_async);
    CHECK(fails_with(noop({"Flags: Static"}), Code::not_implemented, "Flags: Static"));
}

TEST_CASE("5: ENABLE and DISABLE have Criteria-ID and X-Drop-Policy, and optional Flags: Static",
          "[dtcp][dtcp:5.policy-form]") {
    const auto on = enable({"Criteria-ID: 3", "X-Drop-Policy: voice", "Flags: Static"});
    REQUIRE(on);
    CHECK(on->enable);
    CHECK(on->policy == "voice");
    CHECK(on->ids.selects(3));
    CHECK(on->including_static);
    const auto off = parse<dtcp::parse_policy>("DISABLE", {"Criteria-ID: 3", "X-Drop-Policy: voice"});
    REQUIRE(off);
    CHECK_FALSE(off->enable);
    CHECK_FALSE(off->including_static);
    CHECK(fails_with(enable({"X-Drop-Policy: voice"}), Code::bad_request, ""));
    CHECK(fails_with(enable({"Criteria-ID: 3"}), Code::bad_request, ""));
    CHECK(fails_with(enable({"Criteria-ID: 3", "X-Drop-Policy:"}), Code::bad_request, "X-Drop-Policy:"));
}

TEST_CASE("5: the method decides what a request is read as", "[dtcp][dtcp:5.methods]") {
    const auto typed = [](std::string_view method, std::initializer_list<std::string_view> texts) {
        return parse<dtcp::parse_typed>(method, texts);
    };
    CHECK(std::holds_alternative<dtcp::AddRequest>(*typed("ADD", {"Cdest-ID: a", "Flags: Static"})));
    CHECK(std::holds_alternative<dtcp::DeleteRequest>(*typed("DELETE", {"Cdest-ID: a"})));
    CHECK(
        std::holds_alternative<dtcp::RefreshRequest>(*typed("REFRESH", {"Cdest-ID: a", "Timeout-Idle: 1"})));
    CHECK(std::holds_alternative<dtcp::ListRequest>(*typed("list", {})));
    CHECK(std::holds_alternative<dtcp::NoopRequest>(*typed("Noop", {})));
    CHECK(std::get<dtcp::PolicyRequest>(*typed("ENABLE", {"Criteria-ID: 1", "X-Drop-Policy: a"})).enable);
    CHECK_FALSE(
        std::get<dtcp::PolicyRequest>(*typed("DISABLE", {"Criteria-ID: 1", "X-Drop-Policy: a"})).enable);
    CHECK(fails_with(typed("BOGUS", {}), Code::not_implemented, "BOGUS DTCP/0.8"));
    CHECK(fails_with(typed("NOOP", {"bad line"}), Code::bad_request, "bad line"));
    for (const std::string_view method : {"ADD", "DELETE", "REFRESH", "LIST", "NOOP", "ENABLE", "DISABLE"}) {
        CHECK(fails_with(typed(method, {"bad line"}), Code::bad_request, "bad line"));
    }
}

}  // namespace
}  // namespace flowtap::test
