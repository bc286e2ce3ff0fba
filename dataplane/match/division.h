// Taps that share a key, told apart by what else they name: of a thousand taps of one host, a frame to
// another port verifies a few.
//
// A key with more than a few taps gets a Division, which is the first of its list. Taps that come then and
// name few ports, VLANs or protocols are entered under parts of the key instead, in the same index: the hash
// of a part is that of the key and of a block of ports, of an interface or of a protocol. The kinds of parts
// in use stand in the Division, so a frame that meets it looks for one part of each. Taps that name nothing
// of the kind, or too much, stay in the list and are always verified; so do the few that came first. A part
// too many, or two that share a hash, cost a verification, never a wrong answer.
//
// Thread safety: the writer makes, counts and unlinks; readers read `entry` and `kinds`. Invariants:
//  1. The bit of a kind is set before the first tap of such a part is committed, and cleared when its last
//     one is unlinked, so that no reader whose generation has the tap misses it.
//  2. A Division is unlinked when it has no parts, and freed as taps are: see TapTable.
#pragma once

#include "dataplane/match/compiled_criterion.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/key_space.h"
#include "dataplane/match/tap_record.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace flowtap::dataplane::match {

/// Place of the entry of a Division.
inline constexpr Place division_place = 0xfc;

/// What a part of a key is of (Entry::kind). Ports come in blocks of 1, 16, 256 and 4,096.
namespace kind {
inline constexpr std::uint8_t dest_port = 1;
inline constexpr std::uint8_t source_port = 5;
inline constexpr std::uint8_t protocol = 9;
inline constexpr std::uint8_t interface = 10;
inline constexpr std::size_t count = 11;

/// Bits of Division::kinds.
constexpr std::uint16_t bit(std::uint8_t kind) {
    return static_cast<std::uint16_t>(1U << kind);
}
inline constexpr std::uint16_t ports = 0x1fe;
}  // namespace kind

/// Of a frame, what decides which part of the kind it belongs to. A frame without ports belongs to no part of
/// ports.
inline std::uint32_t part_value(std::uint8_t kind, const Headers& headers, std::uint16_t port) {
    if (kind < kind::source_port) {
        return std::uint32_t{headers.dest_port} >> 4 * (kind - kind::dest_port);
    }
    if (kind < kind::protocol) {
        return std::uint32_t{headers.source_port} >> 4 * (kind - kind::source_port);
    }
    return kind == kind::protocol ? headers.protocol : interface_of(port, headers);
}

/// Kinds of which a frame belongs to a part.
inline unsigned kinds_of(const Headers& headers) {
    constexpr unsigned all = ~0U;
    return (headers.flags & flag::ports) != 0 ? all : all & ~unsigned{kind::ports};
}

/// Kinds of which only the first fragment of a datagram says the part: see asks_first_fragment.
inline unsigned unsaid_by_fragments(lib::Family family) {
    return family == lib::Family::ipv4 ? kind::ports : kind::ports | kind::bit(kind::protocol);
}

/// The parts of one key have different hashes. No value has more than 28 bits.
constexpr std::uint32_t part_hash(std::uint32_t key_hash, std::uint8_t kind, std::uint32_t value) {
    return mix(key_hash ^ (value << 4 | kind) * 0x27d4'eb2dU);
}

struct alignas(64) Division {
    Entry entry;                           ///< the first of its key's list
    std::atomic<std::uint16_t> kinds = 0;  ///< bit k: some part is of kind k

    // The writer's.
    std::array<std::uint32_t, kind::count> uses{};  ///< entries in parts, by kind
    std::uint32_t users = 0;                        ///< the sum
    Division* next_retired = nullptr;

    Division() { entry.place = division_place; }
    void add(std::uint8_t kind);
    void remove(std::uint8_t kind);
};

inline bool is_division(const Entry& entry) {
    return entry.place == division_place;
}
inline const Division& division_of(const Entry& entry) {
    return *static_cast<const Division*>(static_cast<const void*>(&entry));
}
inline Division& division_of(Entry& entry) {
    return *static_cast<Division*>(static_cast<void*>(&entry));
}

/// Which parts of a divided key a tap belongs to. Kept and filled again.
///
/// Thread safety: the writer's.
class Partition {
  public:
    static constexpr std::size_t most = 16;  ///< parts of one key

    /// Throws std::bad_alloc, the first time.
    void choose(const CompiledCriterion& criterion);

    /// 0: to none.
    std::uint8_t kind() const { return kind_; }
    std::span<const std::uint32_t> values() const { return values_; }

  private:
    template <typename Value>
    void offer(const RangeSet<Value>& set, std::uint8_t kind, unsigned shift, double weight);

    std::uint8_t kind_ = 0;
    double share_ = 0;  ///< of the frames with the key, by rule of thumb
    std::vector<std::uint32_t> values_;
};

}  // namespace flowtap::dataplane::match
