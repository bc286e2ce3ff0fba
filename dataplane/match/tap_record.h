// One tap as the workers see it: a cache line for the tap that names one host, more for one that names more.
//
// Layout of the block: the record; then, if they do not fit into it, the ranges of the bounded fields; then
// the entries by which the index finds the tap, beyond the first; then, if any of them is of a part of a key,
// for each entry the Division that it is counted in.
//
// Thread safety: the writer fills a record before it links an entry of it; afterwards `removed`, `added`
// (when a batch is rolled back) and Entry::next change, which are atomic; Housekeeping and Entry::previous
// are the writer's alone.
#pragma once

#include "dataplane/match/compiled_criterion.h"
#include "dataplane/match/headers.h"
#include "dataplane/match/key_space.h"
#include "dataplane/match/tap_table.h"
#include "lib/records.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace flowtap::dataplane::match {

inline constexpr Generation never = std::numeric_limits<Generation>::max();

/// A tap in the list of those that share a key; the index owns the links.
struct Entry {
    std::atomic<Entry*> next = nullptr;
    Entry* previous = nullptr;  ///< null: the first of its list
    std::uint32_t hash = 0;
    std::uint32_t back : 20 = 0;  ///< from the record to here, in units of 8 bytes
    std::uint32_t kind : 4 = 0;   ///< not 0: under a part of the key; see division.h
    std::uint32_t place : 8 = 0;  ///< a Place, or one of the special ones
};
static_assert(sizeof(Entry) == 24);

/// Place of the one entry of a tap that no address narrows down.
inline constexpr Place any_place = 0xff;

/// Place of an entry in the list of an interface; see interface_lists.h.
inline constexpr Place interface_place = 0xfd;

/// Bits of TapRecord::traits besides flag::ports and flag::icmp, which the frame must have.
namespace trait {
inline constexpr std::uint8_t parts = flag::ports | flag::icmp;
inline constexpr std::uint8_t addresses = 0x10;  ///< asks for nothing but its family and addresses
inline constexpr std::uint8_t layer2 = 0x20;     ///< whole frames, IP or not
inline constexpr std::uint8_t ipv6 = 0x40;
inline constexpr std::uint8_t many_keys = 0x80;  ///< one frame may find the tap more than once
}  // namespace trait

struct TapRecord;
struct Division;

/// What the fast path does not need. The links are the writer's, the rest is constant.
struct Housekeeping {
    lib::TapId id{};
    /// The other record of a tap that has two, of either direction of a host; only its first has this. Both
    /// come and go together, and no frame matches both.
    TapRecord* twin = nullptr;
    TapRecord* next_added = nullptr;    ///< in the batch
    TapRecord* next_removed = nullptr;  ///< in the batch, later in a list of what is to be unlinked or freed
    std::uint32_t bytes = 0;            ///< of the block
    std::uint32_t keys = 0;             ///< entries, the first included
    std::uint32_t entries = 0;          ///< bytes from the record to the second entry
    std::uint32_t divisions = 0;        ///< bytes from the record to the first Division; 0: there are none
};

struct TapRecord {                            // its block is aligned to a cache line
    std::atomic<Generation> added = never;    ///< visible from this generation on
    std::atomic<Generation> removed = never;  ///< and before this one
    Payload payload{};
    lib::TapSlot slot{};
    std::uint8_t bounded = 0;  ///< bit f: the ranges of field f follow; those of the interfaces are the last
    std::uint8_t single = 0;   ///< bit f: it is one range, without a count before it
    std::uint8_t traits = 0;
    std::uint8_t words = 0;  ///< where the ranges begin: 32-bit words from the record
    Entry first;
    std::array<std::uint32_t, 2> inline_words{};
    Housekeeping writer;

    bool visible(Generation generation) const {
        return added.load(std::memory_order_relaxed) <= generation &&
               generation < removed.load(std::memory_order_relaxed);
    }
    const std::uint32_t* ranges() const {
        return static_cast<const std::uint32_t*>(static_cast<const void*>(this)) + words;
    }
    /// 0 .. writer.keys - 1.
    Entry& entry(std::uint32_t index);
    const Entry& entry(std::uint32_t index) const;
    /// What entry(index) is counted in; the writer's. Only of entries with a kind.
    Division*& division(std::uint32_t index);
};
static_assert(offsetof(TapRecord, writer) == 64, "what readers touch of a one-host tap is one cache line");

inline const TapRecord& record_of(const Entry& entry) {
    const auto* const bytes = static_cast<const std::byte*>(static_cast<const void*>(&entry));
    return *static_cast<const TapRecord*>(static_cast<const void*>(bytes - std::size_t{8} * entry.back));
}
inline TapRecord& record_of(Entry& entry) {
    auto* const bytes = static_cast<std::byte*>(static_cast<void*>(&entry));
    return *static_cast<TapRecord*>(static_cast<void*>(bytes - std::size_t{8} * entry.back));
}

/// How many entries, at least 1; `divided`: some of them are of parts.
struct EntryCount {
    std::uint32_t entries = 1;
    bool divided = false;
};

/// Bytes of the block for a criterion.
std::uint32_t record_bytes(const CompiledCriterion& criterion, EntryCount count);

/// Builds the record in a block of record_bytes(criterion, count) bytes, aligned to 64. The entries have no
/// key yet.
TapRecord* build_record(void* block, const CompiledCriterion& criterion, EntryCount count);

}  // namespace flowtap::dataplane::match
