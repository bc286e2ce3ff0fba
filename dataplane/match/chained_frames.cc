#include "dataplane/match/chained_frames.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace flowtap::dataplane::match {

// A frame with the verdict `ok` has been read to the end of its headers.
void parse_chained(std::span<rte_mbuf* const> frames, HeaderBurst& burst) noexcept {
    for (std::uint64_t rest = burst.uneven; rest != 0; rest &= rest - 1) {
        const auto i = static_cast<std::size_t>(std::countr_zero(rest));
        const rte_mbuf& frame = *frames[i];
        const std::uint32_t headers = std::min(frame.pkt_len, header_bound);
        if (frame.data_len >= headers) [[likely]] {
            continue;
        }
        std::array<std::uint8_t, header_bound> copy;
        const void* const bytes = rte_pktmbuf_read(&frame, 0, headers, copy.data());
        if (bytes != nullptr) {
            parse_again({.data = static_cast<const std::uint8_t*>(bytes),
                         .readable = headers,
                         .length = frame.pkt_len},
                        i, burst);
        }
    }
}

}  // namespace flowtap::dataplane::match
