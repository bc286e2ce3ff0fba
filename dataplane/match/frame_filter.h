// A criterion by itself, for what is asked of a frame besides its taps.
//
// Thread safety: immutable.
#pragma once

#include "dataplane/match/headers.h"
#include "lib/criterion.h"

#include <cstdint>
#include <memory>
#include <optional>

namespace flowtap::dataplane::match {

struct TapRecord;

class FrameFilter {
  public:
    /// Nothing: a criterion that no tap could have (CompiledCriterion::compile). Throws std::bad_alloc.
    static std::optional<FrameFilter> compile(const lib::Criterion& criterion);

    /// As a tap with the criterion would match. The frame came in at `port`.
    bool matches(const Headers& headers, std::uint16_t port) const;

  private:
    struct Free {
        void operator()(TapRecord* record) const noexcept;
    };
    explicit FrameFilter(std::unique_ptr<TapRecord, Free> record);

    std::unique_ptr<TapRecord, Free> record_;  ///< null: nothing matches
};

}  // namespace flowtap::dataplane::match
