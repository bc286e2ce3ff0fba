// A criterion of either direction of one host, as criteria that each look at one side.
//
// Thread safety: pure functions.
#pragma once

#include "lib/criterion.h"

#include <array>
#include <cstddef>
#include <span>

namespace flowtap::dataplane::match {

/// One or two criteria of which a packet matches at most one: what comes from the host, and what goes to it
/// and does not come from it.
class OneSided {
  public:
    /// Of a criterion with an either_address of its family. Throws std::bad_alloc.
    explicit OneSided(const lib::Criterion& criterion);

    std::span<const lib::Criterion> parts() const { return std::span(parts_).first(count_); }

  private:
    std::array<lib::Criterion, 2> parts_;
    std::size_t count_ = 0;
};

}  // namespace flowtap::dataplane::match
