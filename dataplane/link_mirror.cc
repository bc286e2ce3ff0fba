#include "dataplane/link_mirror.h"

namespace flowtap::dataplane {

LinkMirror::LinkMirror(Clock::time_point start) {
    for (State& side : sides_) {
        side.raised = start;
    }
}

std::optional<LinkMirror::Step> LinkMirror::observe(Clock::time_point now, Links links) {
    const std::array up{links.a, links.b};
    std::array<bool, 2> lost{};
    for (std::size_t i = 0; i < sides_.size(); ++i) {
        State& side = sides_[i];
        side.seen = side.seen || (!side.held && up[i]);
        lost[i] = !side.held && !up[i] && (side.seen || now - side.raised >= settle);
    }
    for (const Side side : {Side::a, Side::b}) {
        const auto mine = static_cast<std::size_t>(side);
        const std::size_t far = 1 - mine;
        if (sides_[mine].held) {
            if (up[far]) {
                return Step{side, true};
            }
        } else if (lost[far] && !lost[mine]) {
            return Step{side, false};
        }
    }
    return std::nullopt;
}

void LinkMirror::done(Step step, Clock::time_point now) {
    State& side = sides_[static_cast<std::size_t>(step.side)];
    side.held = !step.up;
    side.seen = false;
    side.raised = now;
}

}  // namespace flowtap::dataplane
