// Matched frames of a burst beyond their sending, until their copies are made.
//
// A short frame's bytes are kept: that is as fast as to count a reference and drop it again, and its buffer
// goes back at once. A longer one is held by its buffers' reference counts. Thread safety: the worker's own.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/short_copy.h"

#include <rte_mbuf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace flowtap::dataplane {

/// A frame whose copies are owed.
struct HeldFrame {
    const std::uint8_t* data = nullptr;  ///< its first `readable` bytes
    std::uint32_t readable = 0;          ///< less than `length`: the rest is in the buffers
    std::uint32_t length = 0;
    rte_mbuf* buffers = nullptr;  ///< null: all of it is readable
    std::uint32_t place = 0;      ///< in its burst
};

class HeldFrames {
  public:
    /// Before the frame is sent on. Returns where its first bytes are from now on.
    const std::uint8_t* keep(rte_mbuf& frame, std::size_t place) {
        const auto* const data = rte_pktmbuf_mtod(&frame, const std::uint8_t*);
        HeldFrame& held = add(frame, place);
        if (frame.pkt_len <= longest_kept && frame.nb_segs == 1) {
            std::uint8_t* const kept = bytes_[count_ - 1].data();
            copy_bytes(kept, data, frame.pkt_len);
            held.data = kept;
            held.buffers = nullptr;
            return kept;
        }
        rte_pktmbuf_refcnt_update(&frame, 1);
        return data;
    }
    /// A frame that is not sent: its buffers are given away.
    void adopt(rte_mbuf& frame, std::size_t place) { add(frame, place); }

    bool empty() const { return count_ == 0; }
    std::span<const HeldFrame> frames() const { return std::span(frames_).first(count_); }

    /// Nobody reads them any more.
    void release() {
        std::array<rte_mbuf*, burst_size> buffers;
        unsigned count = 0;
        for (const HeldFrame& frame : frames()) {
            if (frame.buffers != nullptr) {
                buffers[count++] = frame.buffers;
            }
        }
        if (count != 0) {
            rte_pktmbuf_free_bulk(buffers.data(), count);
        }
        count_ = 0;
    }

  private:
    static constexpr std::size_t longest_kept = longest_short_copy;

    HeldFrame& add(rte_mbuf& frame, std::size_t place) {
        HeldFrame& held = frames_[count_++];
        held = {.data = rte_pktmbuf_mtod(&frame, const std::uint8_t*),
                .readable = frame.data_len,
                .length = frame.pkt_len,
                .buffers = &frame,
                .place = static_cast<std::uint32_t>(place)};
        return held;
    }

    std::size_t count_ = 0;
    std::array<HeldFrame, burst_size> frames_;
    alignas(64) std::array<std::array<std::uint8_t, longest_kept>, burst_size> bytes_;
};

}  // namespace flowtap::dataplane
