// A line about a state is written at most once a second, and none of its changes is forgotten.
#include "dataplane/paced_line.h"

#include <catch2/catch.hpp>

#include <chrono>

using flowtap::dataplane::more_changes;
using flowtap::dataplane::PacedLine;
using std::chrono::milliseconds;

TEST_CASE("a state's line comes at once, and then once a second with what has changed since") {
    PacedLine line;
    const PacedLine::Clock::time_point start{std::chrono::hours(1)};
    CHECK(line.due(start) == 0);
    line.changed();
    CHECK(line.due(start) == 1);
    CHECK(line.due(start + milliseconds(500)) == 0);
    unsigned lines = 0;
    unsigned changes = 0;
    for (int i = 0; i < 1000; ++i) {
        line.changed();
        const unsigned due = line.due(start + milliseconds(10 * i));
        lines += due != 0 ? 1 : 0;
        changes += due;
    }
    CHECK(lines == 9);
    // Those that came last are told of even if there are no more.
    CHECK(changes + line.due(start + std::chrono::seconds(20)) == 1000);
    CHECK(line.due(start + std::chrono::seconds(30)) == 0);
    CHECK(more_changes(1).empty());
    CHECK(more_changes(7) == " (7 changes since the last line)");
}
