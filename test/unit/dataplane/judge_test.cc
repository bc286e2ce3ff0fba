// Which frames are not sent on: decided against a plain statement of the rule, on random matches.
#include "dataplane/judge.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <vector>

namespace {

namespace dataplane = flowtap::dataplane;
namespace lib = flowtap::lib;
namespace match = flowtap::dataplane::match;
using dataplane::Judgement;
using dataplane::TapCopies;
using lib::TapAction;

/// Three taps, one of each action, and a burst whose frames match what a test says.
struct Scene {
    std::vector<std::unique_ptr<TapCopies>> taps;
    std::unique_ptr<match::HeaderBurst> burst = std::make_unique<match::HeaderBurst>();
    std::unique_ptr<match::Matches> matches = std::make_unique<match::Matches>();

    explicit Scene(std::size_t count = 3) {
        for (std::size_t i = 0; i < count; ++i) {
            taps.push_back(std::make_unique<TapCopies>());
            taps.back()->action = static_cast<TapAction>(i % 3);
        }
        burst->count = match::max_burst;
        matches->matched = 0;
    }
    void add(std::size_t frame, std::size_t tap) {
        match::FrameMatches& found = matches->frames[frame];
        if ((matches->matched >> frame & 1) == 0) {
            matches->matched |= std::uint64_t{1} << frame;
            found.count = found.overflow = 0;
        }
        found.taps[found.count++] = {payload_of(*taps[tap]), lib::TapSlot{static_cast<std::uint32_t>(tap)}};
    }
    std::set<std::uint32_t> slots(std::size_t frame) const {
        std::set<std::uint32_t> result;
        for (const match::Match& match : matches->frames[frame]) {
            result.insert(static_cast<std::uint32_t>(match.slot));
        }
        return result;
    }
};

constexpr std::size_t copies = 0;
constexpr std::size_t redirects = 1;
constexpr std::size_t blocks = 2;

bool always(const match::Match&, std::size_t) {
    return true;
}

TEST_CASE("judge: a payload leads to its tap, and says whether that stops frames, whatever is marked on it") {
    for (const TapAction action : {TapAction::copy, TapAction::redirect, TapAction::block}) {
        TapCopies tap;
        tap.action = action;
        for (const match::Payload payload : {payload_of(tap), dataplane::decided(payload_of(tap))}) {
            CHECK(&dataplane::copies_of(payload) == &tap);
            CHECK(dataplane::stops(payload) == (action != TapAction::copy));
        }
        CHECK_FALSE(dataplane::is_decided(payload_of(tap)));
        CHECK(dataplane::is_decided(dataplane::decided(payload_of(tap))));
    }
}

TEST_CASE(
    "judge: copied frames pass, redirected and blocked ones do not, and each is counted as one of them") {
    Scene scene;
    scene.add(0, copies);
    scene.add(2, redirects);
    scene.add(3, blocks);
    scene.add(5, blocks);
    scene.add(5, copies);
    scene.add(5, redirects);
    scene.add(63, copies);
    scene.add(63, blocks);
    const Judgement judgement = dataplane::judge(*scene.matches, always);
    CHECK(judgement.redirected == (1ULL << 2 | 1ULL << 5));
    CHECK(judgement.blocked == (1ULL << 3 | 1ULL << 63));
    CHECK(judgement.stopped() == (1ULL << 2 | 1ULL << 3 | 1ULL << 5 | 1ULL << 63));
    // Every tap that took the frame still has it.
    CHECK(scene.slots(5) == std::set<std::uint32_t>{copies, redirects, blocks});
    CHECK(scene.slots(63) == std::set<std::uint32_t>{copies, blocks});
}

TEST_CASE("judge: a tap that does not take the frame does not stop it, and loses only its own match") {
    Scene scene;
    for (const std::size_t tap : {blocks, copies, redirects}) {
        scene.add(1, tap);
    }
    scene.add(4, blocks);
    const auto not_block = [&](const match::Match& match, std::size_t) {
        return static_cast<std::size_t>(match.slot) != blocks;
    };
    const Judgement judgement = dataplane::judge(*scene.matches, not_block);
    CHECK(judgement.redirected == 1ULL << 1);
    CHECK(judgement.blocked == 0);
    CHECK(scene.slots(1) == std::set<std::uint32_t>{copies, redirects});
    CHECK(scene.slots(4).empty());
}

TEST_CASE(
    "judge: on random matches, what is stopped is what the rule says, and each stopping match is asked "
    "once") {
    std::mt19937_64 random{5};
    for (int round = 0; round < 300; ++round) {
        Scene scene{60};
        std::vector<std::set<std::uint32_t>> matched(match::max_burst);
        for (std::size_t frame = 0; frame < match::max_burst; ++frame) {
            for (std::size_t tap = 0; random() % 2 == 0 && tap < scene.taps.size(); ++tap) {
                if (random() % 4 == 0) {
                    scene.add(frame, tap);
                    matched[frame].insert(static_cast<std::uint32_t>(tap));
                }
            }
        }
        const std::uint64_t frames_before = scene.matches->matched;
        const std::uint64_t salt = random();
        const auto takes = [&](std::size_t frame, std::uint32_t tap) {
            return ((salt ^ frame * 0x9e3779b97f4a7c15ULL ^ tap * 0xbf58476d1ce4e5b9ULL) >> 20 & 3) != 0;
        };
        std::vector<std::set<std::uint32_t>> asked(match::max_burst);
        const Judgement judgement =
            dataplane::judge(*scene.matches, [&](const match::Match& match, std::size_t frame) {
                const auto tap = static_cast<std::uint32_t>(match.slot);
                CHECK(asked[frame].insert(tap).second);
                return takes(frame, tap);
            });
        REQUIRE((judgement.redirected & judgement.blocked) == 0);
        REQUIRE(scene.matches->matched == frames_before);
        for (std::size_t frame = 0; frame < match::max_burst; ++frame) {
            std::set<std::uint32_t> wanted;
            std::set<std::uint32_t> stopping;
            bool redirected = false;
            bool blocked = false;
            for (const std::uint32_t tap : matched[frame]) {
                const TapAction action = scene.taps[tap]->action;
                if (action != TapAction::copy) {
                    stopping.insert(tap);
                }
                if (action == TapAction::copy || takes(frame, tap)) {
                    wanted.insert(tap);
                    redirected = redirected || action == TapAction::redirect;
                    blocked = blocked || action == TapAction::block;
                }
            }
            REQUIRE(asked[frame] == stopping);
            REQUIRE((judgement.redirected >> frame & 1) == (redirected ? 1 : 0));
            REQUIRE((judgement.blocked >> frame & 1) == (blocked && !redirected ? 1 : 0));
            if ((frames_before >> frame & 1) == 0) {
                continue;
            }
            REQUIRE(scene.slots(frame) == wanted);
            REQUIRE(scene.matches->frames[frame].count == wanted.size());
            for (const match::Match& match : scene.matches->frames[frame]) {
                REQUIRE(dataplane::is_decided(match.payload) == dataplane::stops(match.payload));
            }
        }
    }
}

}  // namespace
