// The refusal log: at most a line a second, and no refusal missing from the lines in the end.
#include "control/ssh/refusal_log.h"

#include <catch2/catch.hpp>

#include <chrono>

namespace flowtap::control::ssh {
namespace {

using namespace std::chrono_literals;

constexpr RefusalLog::TimePoint start{1'000'000s};

lib::IpAddress address(std::string_view text) {
    return lib::parse_address(text).value();
}

TEST_CASE("nothing refused, nothing to say, nothing to wake for") {
    RefusalLog log;
    CHECK_FALSE(log.due_in(start).has_value());
    CHECK_FALSE(log.line(start).has_value());
}

TEST_CASE("a first refusal is told at once, with its cause and client") {
    RefusalLog log;
    log.count(Verdict::access_list, address("198.51.100.7"));
    CHECK(log.due_in(start) == 0ms);
    CHECK(log.line(start) == "refused: 1 by access list (1 since the start, last from 198.51.100.7)");
    CHECK_FALSE(log.due_in(start).has_value());
}

TEST_CASE("a flood is one line a second, which counts all of it") {
    RefusalLog log;
    log.count(Verdict::rate_limit, address("192.0.2.1"));
    REQUIRE(log.line(start).has_value());
    for (int i = 0; i < 999; ++i) {
        log.count(Verdict::rate_limit, address("192.0.2.2"));
        REQUIRE_FALSE(log.line(start + std::chrono::milliseconds(i)).has_value());
    }
    log.count(Verdict::connection_limit, address("2001:db8::1"));
    CHECK(log.due_in(start + 999ms) == 1ms);
    CHECK_FALSE(log.line(start + 999ms).has_value());
    CHECK(log.line(start + 1s) ==
          "refused: 1 by connection-limit (1 since the start, last from 2001:db8::1), 999 by rate-limit "
          "(1000 since the "
          "start, last from 192.0.2.2)");
    CHECK_FALSE(log.line(start + 10s).has_value());
    CHECK(log.total(Verdict::rate_limit) == 1000);
}

TEST_CASE("a wake-up is never earlier than the line is due") {
    RefusalLog log;
    log.count(Verdict::rate_limit, address("192.0.2.1"));
    REQUIRE(log.line(start).has_value());
    log.count(Verdict::rate_limit, address("192.0.2.1"));
    const auto asleep = log.due_in(start + 500us).value();
    CHECK_FALSE(log.line(start + 1s - 1us).has_value());
    CHECK(log.line(start + 500us + asleep).has_value());
}

}  // namespace
}  // namespace flowtap::control::ssh
