#include "test/bench/bench_frames.h"

#include <algorithm>

namespace flowtap::test {

lib::IpAddress ipv4(std::uint32_t number) {
    lib::IpAddress address;
    for (std::size_t i = 0; i < 4; ++i) {
        address.bytes[i] = static_cast<std::uint8_t>(number >> (24 - 8 * i));
    }
    return address;
}

lib::Criterion host_tap(std::uint32_t i) {
    lib::Criterion criterion;
    const lib::IpAddress host = ipv4(tap_address(i));
    (i % 2 == 0 ? criterion.source_address : criterion.dest_address).push_back({host, host, false});
    return criterion;
}

Bursts make_bursts(std::size_t bursts, const std::function<Bytes(std::size_t)>& frame) {
    Bursts made;
    const std::size_t frames = bursts * burst_size;
    made.buffers.resize((frames + 1) * Bursts::stride);
    const auto start = reinterpret_cast<std::uintptr_t>(made.buffers.data());
    std::uint8_t* at = made.buffers.data() + (64 - start % 64) % 64;
    for (std::size_t i = 0; i < frames; ++i, at += Bursts::stride) {
        const Bytes bytes = frame(i);
        std::ranges::copy(bytes, at);
        const auto size = static_cast<std::uint32_t>(bytes.size());
        made.views.push_back({at, size, size});
    }
    return made;
}

Bursts make_udp_bursts(std::size_t bursts, const Addresses& addresses) {
    return make_bursts(bursts, [&](std::size_t i) {
        const auto [source, dest] = addresses(i);
        return Packet()
            .ipv4({.source = lib::to_string(ipv4(source)), .dest = lib::to_string(ipv4(dest))})
            .udp()
            .frame(60);
    });
}

std::pair<std::uint32_t, std::uint32_t> far_addresses(std::size_t i) {
    const auto spread = static_cast<std::uint32_t>(i) * 0x85eb'ca6bU;
    return {0xc000'0000U | (spread >> 4), 0xc000'0000U | ((spread * 31) >> 4)};
}

}  // namespace flowtap::test
