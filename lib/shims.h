// What stands between the UDP header of a copy and the original packet, byte by byte, for who writes it (the
// dataplane) and who reads it (flowtap-receive). All numbers are big-endian.
//
// How a receiver tells them apart by the first bits: an IP packet begins with 0100 or 0110, Juniper's header
// with 00, Nokia's with 01 (so with what IP packets begin with, too), ours with 11. Cisco's begins with any:
// it and Nokia's have to be agreed on.
#pragma once

#include "lib/records.h"

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace flowtap::lib {

/// A number in network byte order, at whatever address.
template <std::unsigned_integral Value>
class BigEndian {
  public:
    constexpr BigEndian() = default;
    constexpr BigEndian(Value value) : bytes_(std::bit_cast<Bytes>(swap(value))) {}
    constexpr Value value() const { return swap(std::bit_cast<Value>(bytes_)); }

  private:
    using Bytes = std::array<std::uint8_t, sizeof(Value)>;
    static constexpr Value swap(Value value) {
        return std::endian::native == std::endian::little ? std::byteswap(value) : value;
    }

    Bytes bytes_{};
};

/// PacketCable's: the content connection id alone.
struct CiscoShim {
    BigEndian<std::uint32_t> connection_id;
};

/// SR OS's ip-udp-shim with the direction bit. Juniper's mirror header has the same two words.
struct NokiaShim {
    static constexpr std::uint32_t form = 0x4000'0000;       ///< of the top two bits: a direction is in it
    static constexpr std::uint32_t to_target = 0x2000'0000;  ///< clear: ingress, from the target
    static constexpr std::uint32_t largest_id = 0x1fff'ffff;

    BigEndian<std::uint32_t> intercept;  ///< form, to_target, 29 bits of intercept id
    BigEndian<std::uint32_t> session;
};

/// Ours, with which a receiver proves that nothing is missing.
///
/// A tap counts its copies to one destination, those of all workers together: each copy that is owed has a
/// number, whether it is sent or lost, so every lost copy is a gap, and `dropped` says how many of the gaps
/// the sender knows of. The numbers of one life of the dataplane begin at a multiple of 2^32 that grows from
/// life to life, so that a restart is not taken for loss or repetition.
struct FlowtapShim {
    static constexpr std::uint32_t magic_value = 0xf107'7a90;
    static constexpr std::uint8_t version_value = 1;

    BigEndian<std::uint32_t> magic = magic_value;
    std::uint8_t version = version_value;
    std::uint8_t flags = 0;             ///< of shim_flag; others are 0
    BigEndian<std::uint16_t> reserved;  ///< 0
    BigEndian<std::uint64_t> sequence;  ///< of this tap and destination
    BigEndian<std::uint64_t> arrival;   ///< ns since 1970 (UTC): when the frame was received
    BigEndian<std::uint32_t> criteria_id;
    BigEndian<std::uint32_t> dropped;  ///< copies of this tap to this destination that were lost before
                                       ///< this one was numbered, in this life, modulo 2^32
};

/// Bits of FlowtapShim::flags.
namespace shim_flag {
inline constexpr std::uint8_t to_target = 1;    ///< clear: from the target
inline constexpr std::uint8_t truncated = 2;    ///< the original ends early (this sender never cuts one)
inline constexpr std::uint8_t fragment = 4;     ///< the original is a fragment of an IP datagram
inline constexpr std::uint8_t whole_frame = 8;  ///< the original begins with its Ethernet header
}  // namespace shim_flag

static_assert(sizeof(CiscoShim) == 4 && sizeof(NokiaShim) == 8 && sizeof(FlowtapShim) == 32);
static_assert(alignof(NokiaShim) == 1 && alignof(FlowtapShim) == 1);
static_assert(std::is_trivially_copyable_v<FlowtapShim> && std::is_standard_layout_v<FlowtapShim>);

/// Bytes on the wire.
constexpr std::size_t shim_size(Shim shim) {
    switch (shim) {
        case Shim::raw:
            break;
        case Shim::jmirror:
        case Shim::nokia_l3:
            return sizeof(NokiaShim);
        case Shim::cisco:
            return sizeof(CiscoShim);
        case Shim::flowtap:
            return sizeof(FlowtapShim);
    }
    return 0;
}

/// Reads a shim at the beginning of the bytes, which are at least its size.
template <typename ShimType>
ShimType read_shim(const std::uint8_t* bytes) {
    ShimType shim;
    std::memcpy(&shim, bytes, sizeof shim);
    return shim;
}

/// Writes it there.
template <typename ShimType>
void write_shim(std::uint8_t* bytes, const ShimType& shim) {
    std::memcpy(bytes, &shim, sizeof shim);
}

}  // namespace flowtap::lib
