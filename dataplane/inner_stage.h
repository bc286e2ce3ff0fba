// Taps on what tunnels carry: frames whose outer packet is a tunnel's are classified a second time, by the
// headers of the packet inside, and what is found is added to what the outer packet matched, each tap once.
//
// A tap that the outer packet matches is not asked again, so the two answers never overlap, and what goes
// beyond the most that one frame can match is counted exactly. An inner packet that is this box's own output
// matches nothing. Copies are of the outer packet: the frame's headers stay as they are.
//
// Thread safety: one worker's; no lock, allocation, exception, log or system call after the start. About
// 90 KB.
#pragma once

#include "dataplane/match/headers.h"
#include "dataplane/match/inner_parser.h"
#include "dataplane/match/tap_table.h"
#include "dataplane/own_flows.h"
#include "lib/status.h"

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <span>

namespace flowtap::dataplane {

class InnerStage {
  public:
    /// All but the tunnels outlive it.
    InnerStage(const match::InnerTunnels& tunnels, const match::TapTable& taps, const OwnFlows& own_flows,
               lib::WorkerCounters& counters)
        : tunnels_(tunnels), taps_(taps), own_flows_(own_flows), counters_(counters) {}

    /// `burst` was parsed from the frames, and `matches` is what classify said of it.
    void add_matches(std::span<rte_mbuf* const> frames, const match::HeaderBurst& burst,
                     match::Matches& matches);

  private:
    void parse(std::span<rte_mbuf* const> frames, const match::HeaderBurst& burst,
               match::Generation generation);
    void place(std::size_t frame, const match::Headers& headers);

    match::InnerTunnels tunnels_;
    const match::TapTable& taps_;
    const OwnFlows& own_flows_;
    lib::WorkerCounters& counters_;
    match::HeaderBurst inner_{};  ///< of the frames with an inner packet, at their places
    std::array<match::EarlyFragment, match::max_burst> outer_{};  ///< what the same frames said outside
    match::Matches found_{};
};

}  // namespace flowtap::dataplane
