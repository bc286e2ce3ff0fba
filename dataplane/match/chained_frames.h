// Frames that lie in several buffers, one behind the other: their first buffer nearly always holds all
// headers, so it is parsed first, and alone.
//
// Thread safety: the worker's own burst; no state.
#pragma once

#include "dataplane/match/frame_parser.h"
#include "dataplane/match/headers.h"

#include <rte_mbuf.h>

#include <span>

namespace flowtap::dataplane::match {

/// What a worker shows the parser of a frame: its first buffer.
inline Frame first_buffer(const rte_mbuf& frame) {
    return {.data = rte_pktmbuf_mtod(&frame, const std::uint8_t*),
            .readable = frame.data_len,
            .length = frame.pkt_len};
}

/// Parses those frames of a burst again, from a copy of their first header_bound bytes, whose verdict may be
/// the end of their first buffer's and not their own. `burst` is what parse_burst made of first_buffer() of
/// `frames`. Costs nothing but a look at the uneven ones where no frame is chained.
void parse_chained(std::span<rte_mbuf* const> frames, HeaderBurst& burst) noexcept;

}  // namespace flowtap::dataplane::match
