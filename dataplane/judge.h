// Which frames of a burst are sent on? All of them, but for those that a tap's action stops.
//
// A frame is stopped by any one of its taps, whatever the others do: these get their copies of it all the
// same. A tap whose terms leave the frame out (a drop policy, a limit that is reached) does not stop it. A
// frame that one tap redirects and another blocks counts as redirected: a copy of it is owed.
//
// A pure function of the matches, and of whether the tap of a match takes the frame: that is asked once for
// each match of a tap that stops frames, in the order of the frames, since a limit may count what it answers.
#pragma once

#include "dataplane/match/headers.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/tap_copies.h"
#include "lib/records.h"

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace flowtap::dataplane {

/// Bits of frames of the burst, each in one of them at most.
struct Judgement {
    std::uint64_t redirected = 0;
    std::uint64_t blocked = 0;

    std::uint64_t stopped() const { return redirected | blocked; }
};

/// takes(match, frame). A match that its tap does not take leaves the frame's list; the others are marked,
/// so that their delivery does not ask again.
template <typename Takes>
    requires std::is_invocable_r_v<bool, Takes, const match::Match&, std::size_t>
Judgement judge(match::Matches& matches, Takes takes) {
    Judgement judgement;
    match::for_each_bit(matches.matched, [&](std::size_t i) {
        match::FrameMatches& found = matches.frames[i];
        for (std::uint32_t k = 0; k < found.count;) {
            match::Match& match = found.taps[k];
            if (stops(match.payload)) {
                if (!takes(match, i)) {
                    match = found.taps[--found.count];
                    continue;
                }
                const bool blocks = copies_of(match.payload).action == lib::TapAction::block;
                (blocks ? judgement.blocked : judgement.redirected) |= std::uint64_t{1} << i;
                match.payload = decided(match.payload);
            }
            ++k;
        }
    });
    judgement.blocked &= ~judgement.redirected;
    return judgement;
}

}  // namespace flowtap::dataplane
