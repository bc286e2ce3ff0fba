// Frames and taps of the microbenchmarks of classifying.
//
// Thread safety: one thread.
#pragma once

#include "dataplane/match/frame_parser.h"
#include "lib/criterion.h"
#include "test/bench/bench_rows.h"
#include "test/support/packets.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace flowtap::test {

/// `number` in host byte order.
lib::IpAddress ipv4(std::uint32_t number);

/// The address of tap i: all distinct, spread over 64.0.0.0/3 (the frames that match nothing lie elsewhere).
constexpr std::uint32_t tap_address(std::uint32_t i) {
    return 0x4000'0000U | ((i * 0x9e37'79b1U) & 0x1fff'ffffU);
}

/// An address among those of the taps that none of the first 2^28 taps has.
constexpr std::uint32_t neighbour_address(std::uint32_t i) {
    return tap_address(i | 0x1000'0000U);
}

/// Half of the taps name a source, half a destination.
lib::Criterion host_tap(std::uint32_t i);

/// Frames as a receive ring holds them: each at the start of a cache line, in a buffer of 2 KB and its
/// headers.
struct Bursts {
    static constexpr std::size_t stride = 37 * 64;
    std::vector<std::uint8_t> buffers;
    std::vector<dataplane::match::Frame> views;

    std::size_t count() const { return views.size() / burst_size; }
    std::uint8_t* data(std::size_t i) { return buffers.data() + (views[i].data - buffers.data()); }
    std::span<const dataplane::match::Frame> burst(std::size_t i) const {
        return std::span(views).subspan(i * burst_size, burst_size);
    }
};

Bursts make_bursts(std::size_t bursts, const std::function<Bytes(std::size_t)>& frame);

/// UDP frames of 60 bytes with the addresses, source and destination, that `addresses(i)` gives for frame i.
using Addresses = std::function<std::pair<std::uint32_t, std::uint32_t>(std::size_t)>;
Bursts make_udp_bursts(std::size_t bursts, const Addresses& addresses);

/// Addresses of frames that match no tap and share no first byte with any.
std::pair<std::uint32_t, std::uint32_t> far_addresses(std::size_t i);

}  // namespace flowtap::test
