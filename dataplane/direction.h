// Which way does a frame that a tap matches go: from its target, or to it?
//
// The target is what the criterion names: a host on either side (a subscriber's tap), or addresses on one
// side. Where it names both sides or none, or the host is inside of a tunnel, the wire's port decides: what
// comes in at its side `a` comes from the target. Constant; a pure function of the frame.
#pragma once

#include "dataplane/match/headers.h"
#include "lib/criterion.h"

#include <algorithm>
#include <cstdint>

namespace flowtap::dataplane {

enum class Direction : std::uint8_t { from_target, to_target };

class DirectionRule {
  public:
    static DirectionRule of(const lib::Criterion& criterion) {
        const auto named = [](const lib::AddressList& list) {
            return std::ranges::any_of(list, [](const lib::AddressTerm& term) { return !term.negated; });
        };
        DirectionRule rule;
        if (criterion.either_address) {
            rule.kind_ = Kind::host;
            rule.host_ = *criterion.either_address;
        } else if (named(criterion.source_address) != named(criterion.dest_address)) {
            rule.kind_ = named(criterion.source_address) ? Kind::source : Kind::dest;
        }
        return rule;
    }

    /// `came_in_at_b`: at that side of its wire.
    Direction operator()(const match::Headers& headers, bool came_in_at_b) const {
        switch (kind_) {
            case Kind::source:
                return Direction::from_target;
            case Kind::dest:
                return Direction::to_target;
            case Kind::host:
                if (match::matchable(headers.verdict) && headers.family == host_.family) {
                    if (headers.source == host_.bytes) {
                        return Direction::from_target;
                    }
                    if (headers.dest == host_.bytes) {
                        return Direction::to_target;
                    }
                }
                break;
            case Kind::port:
                break;
        }
        return came_in_at_b ? Direction::to_target : Direction::from_target;
    }

  private:
    enum class Kind : std::uint8_t { port, source, dest, host };

    Kind kind_ = Kind::port;
    lib::IpAddress host_{};
};

}  // namespace flowtap::dataplane
