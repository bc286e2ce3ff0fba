// When one port of a wire loses its link, the other one's is taken down, so that the routers at both ends
// notice; when it is back, the other one's is brought up again.
//
// Pure decisions: what was seen of both links goes in, what is to be done comes out. Invariants: at most one
// side is held down; it is held because of the other one, never because of what holding it looks like; of a
// wire that has lost both links neither is held, so that each can come back by itself.
//
// A link that has been brought up takes its time (negotiation, training). Until it has been seen, or `settle`
// is over, it counts as coming: else each side would be taken down for the other one's negotiation, for ever.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace flowtap::dataplane {

class LinkMirror {
  public:
    using Clock = std::chrono::steady_clock;
    enum class Side : std::uint8_t { a, b };
    /// A link that is to be taken down, or to be brought up.
    struct Step {
        Side side;
        bool up;
        bool operator==(const Step&) const = default;
    };
    struct Links {
        bool a;
        bool b;
    };

    static constexpr std::chrono::seconds settle{30};

    /// Both links have been brought up at `start`.
    explicit LinkMirror(Clock::time_point start);

    /// What there is to do, if anything; the same until done() is called. A link whose device is gone is
    /// down.
    std::optional<Step> observe(Clock::time_point now, Links links);
    /// It has been done.
    void done(Step step, Clock::time_point now);

    /// Taken down since the other side is lost.
    bool held(Side side) const { return sides_[static_cast<std::size_t>(side)].held; }

  private:
    struct State {
        bool held = false;
        bool seen = false;  ///< the link, since it was brought up
        Clock::time_point raised;
    };

    std::array<State, 2> sides_;
};

}  // namespace flowtap::dataplane
