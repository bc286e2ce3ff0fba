// What the registry's memory looks like. It is read by another program of the same version only: the version
// is raised with any change, and a registry of another version is refused.
//
// The memfd holds, each from a page boundary: RegistryHeader, slots (one word a TapSlot), the list of
// removals in progress (one number a TapSlot), blocks. Where they are follows from max_taps alone, which both
// writers know from their configuration; no offset is read from the memory.
#pragma once

#include "lib/address.h"
#include "lib/records.h"
#include "lib/region.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace flowtap::control {

inline constexpr std::uint64_t registry_magic = 0x7379'7261'7465'7266;
inline constexpr std::uint32_t registry_version = 4;

using Word = std::atomic<std::uint64_t>;
static_assert(Word::is_always_lock_free);

/// Counters of one tap, summed over workers.
struct TapTotals {
    std::uint64_t matched_packets = 0;
    std::uint64_t matched_bytes = 0;
    std::uint64_t copies_sent = 0;
    std::uint64_t copies_dropped = 0;
    std::uint64_t dropped_bytes = 0;

    bool operator==(const TapTotals&) const = default;
};

/// A dataplane counts from zero in each of its lives: what a tap has seen is `before` (all lives that are
/// over) plus what the life of `epoch` has counted, of which `seen` is what was read last.
struct TapStatistics {
    lib::Epoch epoch{};
    TapTotals before;
    TapTotals seen;
    std::uint64_t active = 0;  ///< CLOCK_BOOTTIME, ns: when a match was noticed last, or the tap was added

    bool operator==(const TapStatistics&) const = default;
};

/// How long a tap lasts and what it leaves out: as its ADD said, or REFRESH, ENABLE and DISABLE since.
struct TapTerms {
    std::uint32_t idle = 0;         ///< seconds; 0 here and below: no such timeout
    std::uint32_t total = 0;        ///< seconds
    std::uint64_t idle_from = 0;    ///< CLOCK_BOOTTIME, ns: idleness counts from here, or from the last match
    std::uint64_t total_from = 0;   ///< CLOCK_BOOTTIME, ns
    std::uint64_t packets = 0;      ///< as it was specified
    std::uint64_t bytes = 0;        ///< as it was specified, layer 3
    std::uint64_t packets_end = 0;  ///< it is over at so many of TapTotals::matched_packets
    std::uint64_t bytes_end = 0;    ///< and of matched_bytes
    std::uint64_t suppressed = 0;   ///< as TapService::suppressed
    std::uint64_t refreshes = 0;
    std::int64_t refreshed_utc = 0;  ///< ns since 1970: the last REFRESH

    bool operator==(const TapTerms&) const = default;
};

/// Two a tap. The one with the highest generation counts that is not beyond RegistryHeader::terms_generation:
/// so the terms of many taps change with one store.
struct TermsRecord {
    static constexpr std::uint64_t none = UINT64_MAX;
    TapTerms terms;
    std::uint64_t generation = none;
};

/// What an SA slot of the dataplane was given last.
struct SaGrant {
    std::array<std::uint8_t, 32> key_digest{};
    std::uint64_t sa_id = 0;  ///< SaInstall::header.id
    lib::Epoch epoch{};       ///< the dataplane's life
    std::uint64_t end = 0;    ///< counter values below were granted; 0: nothing was

    bool operator==(const SaGrant&) const = default;
};

/// Two, of which one counts: a change takes effect at once.
struct GrantRecord {
    std::array<SaGrant, 2> grants{};
    Word current;
};

/// Of a key whose slot another key was given since.
struct PastGrant {
    std::array<std::uint8_t, 32> key_digest{};
    std::uint64_t end = 0;  ///< as SaGrant::end
};

/// Beyond them the oldest are forgotten: keys that took over from one another while some process lived on.
inline constexpr std::size_t past_grants = 1024;

struct RegistryHeader {
    std::uint64_t magic = 0;
    std::uint32_t version = 0;
    std::uint32_t max_taps = 0;
    std::uint64_t size = 0;
    alignas(
        64) Word removals;  ///< length of the list of removals; not 0: they are decided, and to be finished
    alignas(64) Word terms_generation;
    Word leaving_decided;  ///< the highest EntryHead::leaving that counts
    Word leaving_undone;   ///< the one that is being taken back; 0: none
    alignas(64) std::array<GrantRecord, lib::max_sas> grants;
    Word past_count;  ///< so many were ever written, each to the place of the one past_grants before it
    std::array<PastGrant, past_grants> past;
};

inline constexpr std::size_t block_size = 1024;
inline constexpr std::uint32_t no_block = 0xffff'ffff;

/// At the head of an entry's first block; the message follows, and goes on in the chain's other blocks.
struct EntryHead {
    std::uint32_t next = no_block;
    std::uint32_t slot = 0;
    std::uint64_t id = 0;
    std::int64_t added_utc = 0;    ///< ns since 1970
    std::uint64_t added_boot = 0;  ///< CLOCK_BOOTTIME, ns
    std::uint64_t checksum = 0;    ///< over the fields above but next, the source address and the message
    std::uint32_t message_size = 0;
    std::uint32_t reserved0 = 0;
    std::array<std::uint8_t, 16> csource_address{};
    std::uint8_t family = 0;  ///< of csource_address: 4 or 6
    std::array<std::uint8_t, 7> reserved{};
    std::array<TapStatistics, 2> statistics{};
    Word current;  ///< which of the two statistics counts (bit 0)
    Word leaving;  ///< the removal that is on its way; 0: none
    std::array<TermsRecord, 2> terms{};
};

struct BlockHead {
    std::uint32_t next = no_block;
    std::uint32_t reserved = 0;
};

inline constexpr std::size_t first_capacity = block_size - sizeof(EntryHead);
inline constexpr std::size_t next_capacity = block_size - sizeof(BlockHead);
static_assert(sizeof(EntryHead) <= 464 && std::is_standard_layout_v<EntryHead>);

/// Where everything is.
struct RegistryGeometry {
    std::size_t slots = 0;
    std::size_t removals = 0;
    std::size_t blocks = 0;
    std::size_t size = 0;
    std::uint32_t block_count = 0;

    static constexpr RegistryGeometry of(std::uint32_t max_taps) {
        RegistryGeometry geometry;
        geometry.slots = lib::round_up(sizeof(RegistryHeader), lib::region_alignment);
        geometry.removals =
            geometry.slots + lib::round_up(max_taps * sizeof(std::uint64_t), lib::region_alignment);
        geometry.blocks =
            geometry.removals + lib::round_up(max_taps * sizeof(std::uint32_t), lib::region_alignment);
        // Nearly every message fits one block. The spare is for long ones; memory is taken as it is used.
        geometry.block_count = max_taps + max_taps / 2 + 4096;
        geometry.size = geometry.blocks +
                        lib::round_up(std::size_t{geometry.block_count} * block_size, lib::region_alignment);
        return geometry;
    }
};

}  // namespace flowtap::control
