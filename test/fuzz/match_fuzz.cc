// Tap tables through adds, removals, commits, rollbacks and reclaims between bursts, against the reference:
// see match_box.h for what is held to be true, match_input.h for the taps and frames.
//
// A byte is a step; what it needs follows.
#include "test/fuzz/input.h"
#include "test/fuzz/match_box.h"
#include "test/fuzz/match_input.h"
#include "test/fuzz/match_pools.h"
#include "test/support/aimed_traffic.h"

#include <cstdint>
#include <memory>

namespace {

using namespace flowtap;
using fuzz::Input;
using fuzz::MatchBox;

constexpr std::size_t most_steps = 400;

/// Of fields, or such that a frame matches or nearly does.
lib::Criterion criterion(Input& input, const MatchBox& box) {
    if (input.byte() % 2 == 0) {
        return fuzz::read_criterion(input);
    }
    const std::size_t number = input.byte();
    const std::uint16_t seed = input.number();
    if (box.frames() == 0 || !box.facts(number % box.frames())) {
        return {};
    }
    const std::size_t frame = number % box.frames();
    return test::AimedTraffic(seed).criterion(
        *box.facts(frame), {static_cast<std::uint16_t>(seed % fuzz::ports), box.vlan(frame)});
}

void add_crowd(Input& input, MatchBox& box) {
    const std::uint8_t way = input.byte();
    const std::size_t count = 1 + input.below(100);
    const lib::Criterion first = criterion(input, box);
    std::uint16_t number = 0;
    for (std::size_t slot = 0; slot < MatchBox::most_taps && number < count; ++slot) {
        if (box.is_free(slot)) {
            box.add(slot, fuzz::one_of_crowd(first, way, number++));
        }
    }
}

void remove_many(Input& input, MatchBox& box) {
    const std::size_t first = input.below(MatchBox::most_taps);
    const std::size_t stride = 1 + input.below(8);
    for (std::size_t slot = first; slot < MatchBox::most_taps; slot += stride) {
        box.remove(slot);
    }
}

void pass_burst(Input& input, MatchBox& box) {
    const std::size_t first = input.below(MatchBox::most_frames);
    const std::size_t count = 1 + input.below(MatchBox::most_frames);
    box.burst(first, count, static_cast<std::uint16_t>(input.below(fuzz::ports)));
}

void step(Input& input, MatchBox& box) {
    switch (input.byte() % 16) {
        case 0:
        case 1: {
            const std::size_t slot = input.below(MatchBox::most_taps);
            box.add(slot, criterion(input, box));
            break;
        }
        case 2:
        case 3:
            add_crowd(input, box);
            break;
        case 4:
            box.remove(input.below(MatchBox::most_taps));
            break;
        case 5:
            remove_many(input, box);
            break;
        case 6:
        case 7:
            box.commit();
            break;
        case 8:
            box.rollback();
            break;
        case 9:
            box.reclaim(1 + input.below(64));
            break;
        case 10:
            box.quiescent();
            break;
        case 11:
        case 12:
        case 13:
            if (box.frames() < MatchBox::most_frames) {
                box.add_frame(fuzz::read_frame(input));
            }
            break;
        case 14:
            pass_burst(input, box);
            break;
        default:
            box.complete(fuzz::read_upper(input));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Input input(data, size);
    MatchBox box;
    for (std::size_t steps = 0; steps < most_steps && !input.empty(); ++steps) {
        step(input, box);
    }
    box.commit();
    box.burst(0, box.frames(), 0);
    box.clear();
    return 0;
}
