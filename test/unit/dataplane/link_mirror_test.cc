// What is decided about the links of a wire: the other side follows a loss and a return, and nothing else
// does.
#include "dataplane/link_mirror.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

namespace {

using flowtap::dataplane::LinkMirror;
using std::chrono::milliseconds;
using Side = LinkMirror::Side;
using Step = LinkMirror::Step;

std::size_t place(Side side) {
    return static_cast<std::size_t>(side);
}

/// Two ports with their cables and the mirror, on a clock of their own. A link is there when its cable is in
/// order, its port is not taken down, and the time that it takes to come has passed.
class Wire {
  public:
    explicit Wire(milliseconds coming = milliseconds(0)) : coming_(coming) {}

    void cable(Side side, bool good) {
        Port& port = ports_[place(side)];
        if (good && !port.cable) {
            port.since = now_;
        }
        port.cable = good;
    }

    bool link(Side side) const {
        const Port& port = ports_[place(side)];
        return port.cable && port.up && now_ - port.since >= coming_;
    }
    bool held(Side side) const { return mirror_.held(side); }
    bool all_up() const { return link(Side::a) && link(Side::b) && !held(Side::a) && !held(Side::b); }

    /// Looks every 10 ms and does what is asked. Returns the steps.
    std::string run(milliseconds time) {
        std::string steps;
        for (const auto end = now_ + time; now_ < end; now_ += milliseconds(10)) {
            const auto step = mirror_.observe(now_, {link(Side::a), link(Side::b)});
            if (step) {
                take(*step);
                steps += step->side == Side::a ? 'a' : 'b';
                steps += step->up ? '+' : '-';
            }
        }
        return steps;
    }

  private:
    struct Port {
        bool cable = true;
        bool up = true;
        LinkMirror::Clock::time_point since{std::chrono::hours(1)};
    };

    void take(Step step) {
        Port& port = ports_[place(step.side)];
        port.up = step.up;
        port.since = now_;
        mirror_.done(step, now_);
    }

    milliseconds coming_;
    LinkMirror::Clock::time_point now_{std::chrono::hours(1)};
    LinkMirror mirror_{now_};
    std::array<Port, 2> ports_;
};

constexpr milliseconds moment{10};
constexpr milliseconds hour{3'600'000};

}  // namespace

TEST_CASE("link mirror: the other side is taken down at the first look, and up at the first look after") {
    for (const Side lost : {Side::a, Side::b}) {
        Wire wire;
        const std::string far = lost == Side::a ? "b" : "a";
        CHECK(wire.run(milliseconds(1000)).empty());
        wire.cable(lost, false);
        CHECK(wire.run(moment) == far + "-");
        CHECK(wire.held(lost == Side::a ? Side::b : Side::a));
        CHECK(wire.run(hour).empty());
        wire.cable(lost, true);
        CHECK(wire.run(moment) == far + "+");
        CHECK(wire.run(hour).empty());
        CHECK(wire.all_up());
    }
}

TEST_CASE("link mirror: of two lost links neither is held, and each can come back first") {
    Wire wire;
    wire.run(moment);
    wire.cable(Side::a, false);
    wire.cable(Side::b, false);
    CHECK(wire.run(hour).empty());
    wire.cable(Side::b, true);
    CHECK(wire.run(hour) == "b-");  // nobody is at the other end yet
    wire.cable(Side::a, true);
    CHECK(wire.run(hour) == "b+");
    CHECK(wire.all_up());
}

TEST_CASE("link mirror: a cable that is pulled while its port is held is noticed when it should be back") {
    Wire wire;
    wire.run(moment);
    wire.cable(Side::a, false);
    CHECK(wire.run(moment) == "b-");
    wire.cable(Side::b, false);
    CHECK(wire.run(hour).empty());
    wire.cable(Side::a, true);
    // b is given its time to come; then a follows it.
    CHECK(wire.run(LinkMirror::settle) == "b+");
    CHECK(wire.run(hour) == "a-");
    wire.cable(Side::b, true);
    CHECK(wire.run(hour) == "a+");
    CHECK(wire.all_up());
}

TEST_CASE("link mirror: links that take long to come are waited for, at the start too") {
    Wire wire(milliseconds(9'000));
    CHECK(wire.run(hour).empty());
    for (int i = 0; i < 5; ++i) {
        wire.cable(Side::b, false);
        CHECK(wire.run(milliseconds(60'000)) == "a-");
        wire.cable(Side::b, true);
        CHECK(wire.run(hour) == "a+");
        CHECK(wire.all_up());
    }
    // Lost again while the held one is still coming.
    wire.cable(Side::b, false);
    wire.run(milliseconds(60'000));
    wire.cable(Side::b, true);
    CHECK(wire.run(milliseconds(10'000)) == "a+");
    wire.cable(Side::b, false);
    CHECK(wire.run(hour) == "a-");
}

TEST_CASE("link mirror: a side that never had a link holds the other one down once it has had its time") {
    Wire wire;
    wire.cable(Side::b, false);
    CHECK(wire.run(LinkMirror::settle).empty());
    CHECK(wire.run(moment) == "a-");
    wire.cable(Side::b, true);
    CHECK(wire.run(hour) == "a+");
}

TEST_CASE("link mirror: what could not be done is asked for until it is done") {
    const LinkMirror::Clock::time_point start{std::chrono::hours(1)};
    LinkMirror mirror(start);
    CHECK_FALSE(mirror.observe(start, {true, true}));
    for (int i = 0; i < 3; ++i) {
        CHECK(mirror.observe(start + i * moment, {false, true}) == Step{Side::b, false});
        CHECK_FALSE(mirror.held(Side::b));
    }
    CHECK_FALSE(mirror.observe(start + 4 * moment, {true, true}));
}

TEST_CASE("link mirror: however cables come and go, both links are there once both cables are") {
    std::mt19937 random{5};
    for (int round = 0; round < 200; ++round) {
        Wire wire(milliseconds(random() % 3 * 4'000));
        for (int i = 0; i < 50; ++i) {
            wire.cable(random() % 2 != 0 ? Side::a : Side::b, random() % 2 != 0);
            wire.run(milliseconds(random() % 20'000));
            CHECK_FALSE((wire.held(Side::a) && wire.held(Side::b)));
        }
        wire.cable(Side::a, true);
        wire.cable(Side::b, true);
        wire.run(milliseconds(300'000));
        CHECK(wire.all_up());
        CHECK(wire.run(hour).empty());
    }
}
