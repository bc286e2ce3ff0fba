// The inside of a TapTable, shared by its writer's half (tap_table.cc) and its readers' half (classify.cc).
#pragma once

#include "dataplane/match/compiled_criterion.h"
#include "dataplane/match/division.h"
#include "dataplane/match/interface_lists.h"
#include "dataplane/match/key_space.h"
#include "dataplane/match/memory.h"
#include "dataplane/match/prefilter.h"
#include "dataplane/match/slot_array.h"
#include "dataplane/match/tap_cover.h"
#include "dataplane/match/tap_index.h"
#include "dataplane/match/tap_record.h"
#include "dataplane/match/tap_table.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory_resource>
#include <span>
#include <vector>

namespace flowtap::dataplane::match {

/// Levels in use, all groups: bits group * max_levels + level.
using LevelMasks = std::uint64_t;

constexpr LevelMask levels_of(LevelMasks masks, std::size_t group) {
    return static_cast<LevelMask>(masks >> (group * max_levels));
}

/// Frames to be looked at, as in HeaderBurst.
struct Masks {
    std::uint64_t frames;
    std::uint64_t ipv4;
    std::uint64_t ipv6;
};

/// What one entry of a tap will be.
struct Placement {
    std::uint32_t hash;
    Place place;
    std::uint8_t kind;       ///< not 0: of a part
    std::uint32_t key_hash;  ///< of the key that it is a part of
};

struct TapTable::State {
    State(Quiescence& quiescence, const Options& options);
    ~State();

    // Readers load these once a burst, the generation first: what it made visible is then seen too.
    struct alignas(64) Published {
        std::atomic<Generation> generation = 0;
        std::atomic<LevelMasks> levels = 0;
        std::array<std::atomic<Entry*>, 2> unkeyed{};  ///< taps without a key, IPv4 and IPv6
        /// Linked records with asks_first_fragment: at least those of the generation.
        std::atomic<std::uint32_t> ask_first_fragment = 0;
        /// Taps without a key that name interfaces, by port; null until a port has one.
        std::array<std::atomic<InterfaceLists*>, lib::max_ports> interfaces{};
    } published;

    // Constant.
    alignas(64) KeySpace key_space;
    Simd simd;
    ProbeFunction probe;

    // The writer's, except that readers use index.view().
    Memory memory;
    TapIndex index;
    Quiescence& quiescence;
    SlotArray slots;
    std::array<std::uint32_t, groups * max_levels> level_counts{};
    std::uint64_t unkeyed_count = 0;  ///< entries in lists, those of interfaces too
    std::uint32_t taps = 0;
    CompiledCriterion compiled;
    TapCover cover;
    std::vector<Key> interface_keys;
    Partition partition;
    std::vector<Placement> placements;

    TapRecord* added = nullptr;  ///< the batch, newest first
    TapRecord* removed = nullptr;

    /// What waits for readers.
    struct Round {
        TapRecord* to_unlink = nullptr;  ///< removed by a commit
        TapRecord* to_free = nullptr;    ///< unlinked
        Division* divisions = nullptr;   ///< unlinked

        bool empty() const { return to_unlink == nullptr && to_free == nullptr && divisions == nullptr; }
    };
    Round open;
    Round sealed;
    bool sealed_active = false;
    Period sealed_period{};
    std::uint64_t waiting = 0;

    /// The readers': puts the question to every candidate of the frames (classify.cc). Returns the frames for
    /// which some tap says yes, of a question that wants no lists.
    template <typename Question>
    std::uint64_t ask(const Question& question, const Masks& masks, Matches* matches) const noexcept;

    Generation next_generation() const { return published.generation.load(std::memory_order_relaxed) + 1; }
    /// Linked, not yet to be seen in any generation.
    std::expected<TapRecord*, StageError> build(lib::TapSlot slot, lib::TapId id,
                                                const lib::Criterion& criterion, Payload payload);
    /// The same of a criterion of either direction of a host.
    std::expected<TapRecord*, StageError> build_both(lib::TapSlot slot, lib::TapId id,
                                                     const lib::Criterion& criterion, Payload payload);
    /// Where the tap of these keys is entered, into `placements`. Throws std::bad_alloc.
    void place(std::span<const Key> keys);
    /// Of a record whose entries are as in `placements`.
    bool link(TapRecord& record) noexcept;
    void count_asking(const TapRecord& record, std::int32_t change) noexcept;
    bool link(Entry& entry) noexcept;
    /// Of a part: the Division of the key, made if there is none; null: no memory.
    Division* divide(std::uint32_t key_hash) noexcept;
    bool link_to_part(TapRecord& record, std::uint32_t index, std::uint32_t key_hash) noexcept;
    void retire_unused(Division& division) noexcept;
    void free_divisions(Round& round) noexcept;
    bool link_to_interface(Entry& entry) noexcept;
    void push(std::atomic<Entry*>& head, Entry& entry) noexcept;
    /// A tap's first record stands for its twin too, in the next three.
    void unlink(TapRecord& tap) noexcept;
    void retire(TapRecord& tap) noexcept;
    void free(TapRecord& tap) noexcept;
    void unlink(TapRecord& record, std::uint32_t index) noexcept;
    void count_level(Place place, std::int32_t change) noexcept;
    void rollback() noexcept;
    bool reclaim(std::size_t budget) noexcept;
};

}  // namespace flowtap::dataplane::match
