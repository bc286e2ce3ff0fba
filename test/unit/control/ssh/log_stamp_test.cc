// Stamped log lines: nothing is lost or split by how the bytes come in, every line has its time.
#include "control/ssh/log_stamp.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <ctime>
#include <string>

namespace flowtap::control::ssh {
namespace {

using namespace std::chrono_literals;

const LogStamp::Time start = [] {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    return LogStamp::Time{1'790'000'000'042ms};
}();
const std::string stamp = "2026-09-21 14:13:20.042 sshd: ";

TEST_CASE("each line has the time before it, and no carriage return") {
    LogStamp log;
    CHECK(log.add("one\r\ntwo\n", start) == stamp + "one\n" + stamp + "two\n");
    CHECK(log.finish(start).empty());
}

TEST_CASE("a line that comes in pieces is one line, at the time of its end") {
    LogStamp log;
    CHECK(log.add("on", start - 1s).empty());
    CHECK(log.add("e\r", start - 1s).empty());
    CHECK(log.add("\ntwo", start) == stamp + "one\n");
    CHECK(log.finish(start) == stamp + "two\n");
    CHECK(log.finish(start).empty());
}

TEST_CASE("what never ends a line is cut, and none of it lost") {
    LogStamp log;
    const std::string text(2 * LogStamp::longest_line + 10, 'x');
    const auto cut = stamp + std::string(LogStamp::longest_line, 'x') + "\n";
    CHECK(log.add(text, start) == cut + cut);
    CHECK(log.finish(start) == stamp + std::string(10, 'x') + "\n");
}

}  // namespace
}  // namespace flowtap::control::ssh
