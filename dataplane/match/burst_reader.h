// From a burst of received buffers to headers: the one way in for a worker, so that frames whose headers lie
// in several buffers cannot be forgotten.
//
// Thread safety: one worker's own.
#pragma once

#include "dataplane/match/common_frames.h"
#include "dataplane/match/frame.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/simd.h"

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <span>

namespace flowtap::dataplane::match {

class BurstReader {
  public:
    explicit BurstReader(Simd simd) : common_(common_function(simd)) {}

    /// Parses at most max_burst frames; `burst` is overwritten, its port aside. Returns the bytes of all
    /// frames. The frames must stay until LazyHeaders::close().
    std::uint64_t read(std::span<rte_mbuf* const> frames, HeaderBurst& burst) noexcept;

  private:
    CommonFunction common_;
    alignas(64) std::array<Frame, max_burst> views_{};
};

}  // namespace flowtap::dataplane::match
