// The taps, in memory that outlives this process: a memfd that the dataplane keeps while control is down.
//
// Every change is one atomic store, made after everything it speaks of is in place. A process that is killed
// between any two instructions leaves each tap wholly there or not at all, and a removal of several taps is
// done for all or for none: a list of removals is committed by its length, and finished by whoever comes
// next. A removal that the dataplane may have done already is finished too: installed once more, a tap would
// count from zero and copy beyond its limits. (Death of the machine is no case: taps are not to survive
// that.)
//
// What an entry holds is the ADD as it was received and what cannot be had from it again: ID, slot, times,
// the client's address, statistics, the terms that later requests gave it. No key is in it. It is shared
// memory that others may have written to, so adopt() believes no index, length or link in it, and its caller
// checks each message's signature again.
//
// Thread safety: one thread. Free blocks are known to the object only, and found again by adopt().
#pragma once

#include "control/registry_layout.h"
#include "lib/file_descriptor.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::control {

struct TermsChange {
    lib::TapSlot slot{};
    TapTerms terms;
};

/// One tap, without statistics.
struct RegistryEntry {
    lib::TapSlot slot{};
    lib::TapId id{};
    std::int64_t added_utc = 0;    ///< ns since 1970
    std::uint64_t added_boot = 0;  ///< CLOCK_BOOTTIME, ns
    lib::IpAddress csource_address;
    std::string message;  ///< the ADD, byte for byte
    TapTerms terms{};
};

class Registry {
  public:
    /// A new one, empty. Errors name the call and its cause.
    static std::expected<Registry, std::string> create(std::uint32_t max_taps);

    /// Takes up one that another process wrote: checks its form, finishes a removal that was decided, drops
    /// entries that are damaged (damaged() says how many). Errors: it is no registry of this shape and
    /// version.
    static std::expected<Registry, std::string> adopt(lib::FileDescriptor descriptor, std::uint32_t max_taps);

    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;
    Registry(Registry&&) noexcept;
    Registry& operator=(Registry&&) noexcept;
    ~Registry();

    /// The memfd, for the dataplane to keep; stays this object's.
    int descriptor() const { return descriptor_.get(); }
    std::size_t damaged() const { return damaged_; }
    std::size_t size() const { return used_; }

    /// Writes the entry and commits it. `entry.slot` must be free. Errors: no room.
    std::expected<void, std::string> add(const RegistryEntry& entry);

    /// The taps' removal is on its way: should the process die before remove(), the next finds none of them.
    /// For all of them or, when it dies on the way, for none. The slots must be used.
    void begin_removal(std::span<const lib::TapSlot> slots);
    /// It does not happen: they stay. All of them or, when the process dies on the way, none. `slots` as in
    /// one begin_removal().
    void undo_removal(std::span<const lib::TapSlot> slots);
    /// Removes all of them, or, when the process dies on the way, none or later all. Slots that are free
    /// already are passed over.
    void remove(std::span<const lib::TapSlot> slots);

    /// The entry in the slot; nothing: free.
    std::optional<RegistryEntry> read(lib::TapSlot slot) const;
    std::vector<lib::TapSlot> slots() const;

    /// The slot must be used.
    TapStatistics statistics(lib::TapSlot slot) const;
    /// All of it takes effect at once.
    void set_statistics(lib::TapSlot slot, const TapStatistics& statistics);

    /// The terms of all of them or, when the process dies on the way, of none. The slots must be used.
    void set_terms(std::span<const TermsChange> changes);

    /// The witness against a lease record that was rolled back: what each SA slot was given last, and up to
    /// where each key was granted.
    void set_grant(lib::SaSlot slot, const SaGrant& grant);
    SaGrant grant(lib::SaSlot slot) const;
    /// The highest value granted to the key in any slot, whatever the slot was given since; 0: none.
    std::uint64_t granted(const std::array<std::uint8_t, 32>& key_digest) const;

  private:
    Registry(lib::FileDescriptor descriptor, std::byte* memory, std::uint32_t max_taps);

    RegistryHeader& header() const;
    std::span<PastGrant> past() const;
    void remember(const SaGrant& grant);
    Word& slot_word(std::uint32_t slot) const;
    std::uint32_t* removal_list() const;
    std::byte* block(std::uint32_t index) const;
    EntryHead& head(std::uint32_t index) const;
    EntryHead& entry_at(lib::TapSlot slot) const;
    TermsRecord& terms_in_force(EntryHead& entry) const;
    bool used(std::uint32_t slot) const;

    /// The entry's blocks in order, when the entry is what a writer of this version leaves.
    std::optional<std::vector<std::uint32_t>> check(std::uint32_t slot, std::vector<bool>& taken) const;
    std::optional<std::vector<std::uint32_t>> take_blocks(std::size_t count);
    bool reserve(std::uint32_t block_index);
    void finish_removals();
    void finish_leaving();
    void recover();
    void free_chain(std::uint32_t first);

    lib::FileDescriptor descriptor_;
    std::byte* memory_ = nullptr;
    std::uint32_t max_taps_ = 0;
    RegistryGeometry geometry_;
    std::vector<std::uint32_t> free_blocks_;  ///< below fresh_block_
    std::uint32_t fresh_block_ = 0;           ///< blocks from here on were never used
    std::uint32_t reserved_ = 0;              ///< blocks below have memory
    std::size_t used_ = 0;
    std::size_t damaged_ = 0;
};

}  // namespace flowtap::control
