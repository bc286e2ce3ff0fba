#include "dataplane/match/byte_order.h"
#include "dataplane/match/common_frames.h"
#include "dataplane/match/ethertypes.h"

namespace flowtap::dataplane::match {

std::uint64_t common_portable(const Frame* frames, std::uint32_t count, const CommonFields& to) noexcept {
    std::uint64_t common = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        const Frame& frame = frames[i];
        to.frames[i] = frame;
        if (frame.readable < common_bytes) {
            continue;
        }
        const std::uint8_t* const ip = frame.data + ethernet_size;
        // Ethertype, version, header length, service, total length, identification.
        const std::uint64_t begin = load_be64(ip - 2);
        const auto total = static_cast<std::uint32_t>(begin >> 16 & 0xffff);
        const bool is_common = begin >> 40 == (type_ipv4 << 8 | 0x45) && (load_be16(ip + 6) & 0x3fff) == 0 &&
                               total >= common_total && total <= frame.length - ethernet_size;
        to.source4[i] = load_be32(ip + 12);
        to.dest4[i] = load_be32(ip + 16);
        common |= std::uint64_t{is_common} << i;
    }
    return common;
}

}  // namespace flowtap::dataplane::match
