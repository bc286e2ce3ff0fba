// The configuration's drop policies: which of them does a frame fall under?
//
// Thread safety: immutable.
#pragma once

#include "dataplane/match/frame_filter.h"
#include "dataplane/match/headers.h"
#include "lib/config.h"

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace flowtap::dataplane {

class DropPolicies {
  public:
    /// A policy that no frame can fall under, or that is impossible, keeps its number. Throws std::bad_alloc.
    explicit DropPolicies(std::span<const lib::DropPolicyConfig> policies);

    /// Bits of TapService::suppressed that stand for a policy.
    std::uint64_t known() const { return known_; }

    /// Whether the frame falls under one of those whose bits are set.
    bool any_matches(std::uint64_t wanted, const match::Headers& headers, std::uint16_t port) const {
        for (wanted &= known_; wanted != 0; wanted &= wanted - 1) {
            for (const match::FrameFilter& filter :
                 filters_[static_cast<std::size_t>(std::countr_zero(wanted))]) {
                if (filter.matches(headers, port)) {
                    return true;
                }
            }
        }
        return false;
    }

  private:
    std::uint64_t known_ = 0;
    std::vector<std::vector<match::FrameFilter>> filters_;  ///< by policy, one a family
};

}  // namespace flowtap::dataplane
