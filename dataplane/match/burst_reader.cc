#include "dataplane/match/burst_reader.h"

#include "dataplane/match/chained_frames.h"
#include "dataplane/match/frame_parser.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <cstddef>

namespace flowtap::dataplane::match {

std::uint64_t BurstReader::read(std::span<rte_mbuf* const> frames, HeaderBurst& burst) noexcept {
    const std::size_t count = std::min(frames.size(), max_burst);
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const rte_mbuf& frame = *frames[i];
        const Frame view = first_buffer(frame);
        rte_prefetch0(view.data);
        bytes += view.length;
        views_[i] = view;
    }
    parse_burst(std::span(views_).first(count), burst, common_);
    if (burst.uneven != 0) {
        parse_chained(frames, burst);
    }
    return bytes;
}

}  // namespace flowtap::dataplane::match
