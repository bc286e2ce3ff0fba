// A single-producer single-consumer ring of fixed-size records between two processes that do not trust each
// other.
//
// The memory is in two regions. The producer's holds the records and the producer index; the consumer's holds
// the consumer index. Each side maps the other's region read-only, so that the MMU keeps it from writing
// there.
//
// Guarantees (each is a test of that number in test/unit/lib/ring_test.cc):
//  1. Whole: a record is handed out complete; none is visible before it is complete.
//  2. In order.
//  3. Once: between two starts of an epoch, a record that was pushed is popped exactly once.
//  4. Nothing is lost: a full ring takes no record and says so; no record is ever overwritten before it was
//  popped.
//  5. The consumer owns what it looks at: pop() makes private copies, fetching each word once, and only then
//  gives
//     the slots back. What the peer writes later changes no copy.
//  6. No index of the peer is believed: one that is impossible (a producer index outside [consumer, consumer
//  +
//     capacity], a consumer index outside [what it was, producer], either of them going back) is
//     RingError::peer_corrupt, for ever in this epoch, and nothing outside the ring is touched.
//  7. Least rights: the consumer only reads the producer's region, the producer only reads the consumer's.
//  8. Wait-free: every call ends in steps bounded by its own arguments, whatever the peer does, and makes no
//  system
//     call. Waking a peer is not its business (lib/link.h).
//  9. Quiet: indices of two sides are never on one cache line, and the peer's is read only when the copy of
//  it that
//     was read last leaves no room, or no record.
// 10. A new RingProducer and a new RingConsumer start a new, empty epoch; records of the old one are gone.
// 11. wipe() leaves no byte of the records that were popped.
//
// Thread safety: one thread at a time is the producer, one the consumer; they need nothing else in common.
// Ownership: both point into regions that must outlive them.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <span>
#include <type_traits>

namespace flowtap::lib {

template <typename Record>
concept RingRecord = std::is_trivially_copyable_v<Record> && std::is_default_constructible_v<Record> &&
                     sizeof(Record) % 8 == 0 && alignof(Record) >= 8;

/// Counts records since the epoch began; never wraps (64 bits). Written by the side in whose region it is.
struct alignas(64) RingIndex {
    std::atomic<std::uint64_t> value{0};
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && sizeof(RingIndex) == 64);

/// The producer's part of a ring, in the producer's region.
template <RingRecord Record, std::size_t Capacity>
struct RingMemory {
    static_assert(Capacity > 0 && (Capacity & (Capacity - 1)) == 0, "a power of two");
    RingIndex produced;
    alignas(64) std::array<Record, Capacity> slots;
};

enum class RingError : std::uint8_t {
    peer_corrupt,  ///< the peer's index is impossible: leave the peer
};

/// The writing end. Written by its owner: memory. Read: consumed.
template <RingRecord Record, std::size_t Capacity>
class RingProducer {
  public:
    using Memory = RingMemory<Record, Capacity>;

    /// Starts an epoch. The consumer index must be 0 by the time of the first push: the link's handshake sees
    /// to it.
    RingProducer(Memory& memory, const RingIndex& consumed) : memory_(&memory), consumed_(&consumed) {
        memory.produced.value.store(0, std::memory_order_release);
    }

    /// Takes as many records from the front as there is room for; returns how many. They are visible
    /// together.
    std::expected<std::size_t, RingError> push(std::span<const Record> records) noexcept {
        const auto room = free_slots(records.size());
        if (!room) {
            return room;
        }
        const std::size_t count = std::min(records.size(), *room);
        for (std::size_t i = 0; i < count; ++i) {
            std::memcpy(&memory_->slots[(produced_ + i) % Capacity], &records[i], sizeof(Record));
        }
        produced_ += count;
        memory_->produced.value.store(produced_, std::memory_order_release);
        return count;
    }

    /// False: the ring is full.
    std::expected<bool, RingError> push(const Record& record) noexcept {
        const auto count = push(std::span(&record, 1));
        if (!count) {
            return std::unexpected(count.error());
        }
        return *count == 1;
    }

    /// Records that a push would take now, at least.
    std::expected<std::size_t, RingError> room() noexcept { return free_slots(Capacity); }

    /// True when the consumer has taken everything that was pushed.
    std::expected<bool, RingError> drained() noexcept {
        const auto slots = room();
        if (!slots) {
            return std::unexpected(slots.error());
        }
        return *slots == Capacity;
    }

    /// Overwrites with zeros the slots of all records that the consumer has taken; returns how many those
    /// were since the last call. For records that hold keys.
    std::expected<std::size_t, RingError> wipe() noexcept {
        const auto room = free_slots(Capacity);
        if (!room) {
            return room;
        }
        // Slots that were pushed to again since are live: only the last Capacity of those taken can be wiped.
        const std::uint64_t oldest = produced_ > Capacity ? produced_ - Capacity : 0;
        std::size_t wiped = 0;
        for (std::uint64_t i = std::max(wiped_, oldest); i < known_consumed_; ++i, ++wiped) {
            std::memset(static_cast<void*>(&memory_->slots[i % Capacity]), 0, sizeof(Record));
        }
        wiped_ = known_consumed_;
        return wiped;
    }

  private:
    std::expected<std::size_t, RingError> free_slots(std::size_t wanted) noexcept {
        if (corrupt_) {
            return std::unexpected(RingError::peer_corrupt);
        }
        const auto taken = static_cast<std::size_t>(produced_ - known_consumed_);
        if (Capacity - taken >= wanted) {
            return Capacity - taken;
        }
        const std::uint64_t consumed = consumed_->value.load(std::memory_order_acquire);
        if (consumed < known_consumed_ || consumed > produced_) {
            corrupt_ = true;
            return std::unexpected(RingError::peer_corrupt);
        }
        known_consumed_ = consumed;
        return Capacity - static_cast<std::size_t>(produced_ - known_consumed_);
    }

    Memory* memory_;
    const RingIndex* consumed_;
    std::uint64_t produced_ = 0;
    std::uint64_t known_consumed_ = 0;
    std::uint64_t wiped_ = 0;
    bool corrupt_ = false;
};

/// The reading end. Written by its owner: consumed. Read: memory, which may be mapped read-only.
template <RingRecord Record, std::size_t Capacity>
class RingConsumer {
  public:
    using Memory = RingMemory<Record, Capacity>;

    /// Starts an epoch. The producer index must be 0, or count records of this epoch already.
    RingConsumer(const Memory& memory, RingIndex& consumed) : memory_(&memory), consumed_(&consumed) {
        consumed.value.store(0, std::memory_order_release);
    }

    /// Copies out as many records as there are, at most records.size(); returns how many. Nothing in them has
    /// been checked.
    std::expected<std::size_t, RingError> pop(std::span<Record> records) noexcept {
        const auto available = filled_slots(records.size());
        if (!available) {
            return available;
        }
        const std::size_t count = std::min(records.size(), *available);
        for (std::size_t i = 0; i < count; ++i) {
            copy_out(memory_->slots[(consumed_count_ + i) % Capacity], records[i]);
        }
        consumed_count_ += count;
        consumed_->value.store(consumed_count_, std::memory_order_release);
        return count;
    }

    /// False: the ring is empty.
    std::expected<bool, RingError> pop(Record& record) noexcept {
        const auto count = pop(std::span(&record, 1));
        if (!count) {
            return std::unexpected(count.error());
        }
        return *count == 1;
    }

  private:
    using Word [[gnu::may_alias]] = std::uint64_t;

    std::expected<std::size_t, RingError> filled_slots(std::size_t wanted) noexcept {
        if (corrupt_) {
            return std::unexpected(RingError::peer_corrupt);
        }
        const auto known = static_cast<std::size_t>(known_produced_ - consumed_count_);
        if (known >= wanted) {
            return known;
        }
        const std::uint64_t produced = memory_->produced.value.load(std::memory_order_acquire);
        if (produced < known_produced_ || produced - consumed_count_ > Capacity) {
            corrupt_ = true;
            return std::unexpected(RingError::peer_corrupt);
        }
        known_produced_ = produced;
        return static_cast<std::size_t>(produced - consumed_count_);
    }

    /// Atomic loads: the compiler may fetch no word twice, so that a peer that writes meanwhile can give the
    /// caller a wrong record, but not one that changes between its check and its use.
    static void copy_out(const Record& slot, Record& copy) noexcept {
        const auto* from = reinterpret_cast<const Word*>(&slot);
        auto* to = reinterpret_cast<Word*>(&copy);
        for (std::size_t i = 0; i < sizeof(Record) / sizeof(Word); ++i) {
            to[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
        }
    }

    const Memory* memory_;
    RingIndex* consumed_;
    std::uint64_t consumed_count_ = 0;
    std::uint64_t known_produced_ = 0;
    bool corrupt_ = false;
};

}  // namespace flowtap::lib
