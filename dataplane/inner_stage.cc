#include "dataplane/inner_stage.h"

#include "dataplane/match/byte_order.h"
#include "dataplane/match/chained_frames.h"

#include <algorithm>

namespace flowtap::dataplane {
namespace {

/// Adds `more`, of which none is in `to`.
void append(const match::FrameMatches& more, match::FrameMatches& to) {
    const std::uint32_t fit = std::min(more.count, static_cast<std::uint32_t>(match::max_matches) - to.count);
    std::copy_n(more.begin(), fit, to.taps.begin() + to.count);
    to.count += fit;
    to.overflow += more.overflow + (more.count - fit);
}

match::Inner parse_frame(const match::InnerTunnels& tunnels, const rte_mbuf& frame,
                         const match::Headers& outer) {
    const match::Frame first = match::first_buffer(frame);
    const std::uint32_t wanted = std::min(frame.pkt_len, match::inner_header_bound);
    if (first.readable >= wanted) [[likely]] {
        return match::parse_inner(tunnels, first, outer);
    }
    std::array<std::uint8_t, match::inner_header_bound> copy;
    const void* const bytes = rte_pktmbuf_read(&frame, 0, wanted, copy.data());
    return match::parse_inner(
        tunnels,
        {.data = static_cast<const std::uint8_t*>(bytes), .readable = wanted, .length = frame.pkt_len},
        outer);
}

}  // namespace

void InnerStage::add_matches(std::span<rte_mbuf* const> frames, const match::HeaderBurst& burst,
                             match::Matches& matches) {
    parse(frames, burst, matches.generation);
    if (inner_.frames == 0) {
        return;
    }
    // A frame's "then" is its outer packet, so that taps which that one matched are left out.
    taps_.classify_rest(inner_, outer_, found_);
    match::for_each_bit(found_.matched, [&](std::size_t i) {
        if (own_flows_.contains(inner_.headers[i])) [[unlikely]] {
            lib::add(counters_[lib::WorkerCounter::own_output], 1);
            return;
        }
        match::FrameMatches& to = matches.frames[i];
        const std::uint64_t bit = std::uint64_t{1} << i;
        if ((matches.matched & bit) == 0) {
            matches.matched |= bit;
            to.count = 0;
            to.overflow = 0;
        }
        append(found_.frames[i], to);
    });
}

/// Fills inner_ and outer_.
void InnerStage::parse(std::span<rte_mbuf* const> frames, const match::HeaderBurst& burst,
                       match::Generation generation) {
    inner_.count = burst.count;
    inner_.port = burst.port;
    inner_.frames = inner_.ipv4 = inner_.ipv6 = inner_.uneven = inner_.fragments = 0;
    match::for_each_bit(burst.ipv4 | burst.ipv6, [&](std::size_t i) {
        const match::Headers& outer = burst.headers[i];
        if (!match::may_be_tunnel(tunnels_, outer)) [[likely]] {
            return;
        }
        const match::Inner inner = parse_frame(tunnels_, *frames[i], outer);
        if (const auto counter = match::counter_of(inner.verdict)) {
            lib::add(counters_[*counter], 1);
        }
        if (inner.verdict == match::InnerVerdict::parsed) {
            outer_[i] = {.headers = outer, .generation = generation};
            place(i, inner.headers);
        }
    });
}

void InnerStage::place(std::size_t frame, const match::Headers& headers) {
    const std::uint64_t bit = std::uint64_t{1} << frame;
    match::Headers& kept = inner_.headers.overwrite(frame);
    kept = headers;
    inner_.addresses6[frame] = kept.source.data();
    inner_.source4[frame] = match::load_be32(headers.source.data());
    inner_.dest4[frame] = match::load_be32(headers.dest.data());
    inner_.frames |= bit;
    (headers.family == lib::Family::ipv4 ? inner_.ipv4 : inner_.ipv6) |= bit;
    lib::add(counters_[lib::WorkerCounter::inner_parsed], 1);
    if (headers.verdict != match::Verdict::ok) {
        lib::add(counters_[lib::WorkerCounter::inner_no_ports], 1);
    }
}

}  // namespace flowtap::dataplane
