// The exact index: from a key's hash to the taps that were entered under it.
//
// A hash table by linear hashing: it grows and shrinks by one bucket at a time, so that no call takes long. A
// bucket is a cache line of cells; a cell holds the pointer to the first entry of one key and the 16 bits of
// tag_of(hash) above it; entries of one key are a list. Beside each bucket lie its two words of the
// prefilter.
//
// Memory comes with the keys: buckets in chunks that each double their number, which stay where they are; the
// prefilter's words, which vector instructions gather from one array, are copied into one of twice the size.
// That is the one step that grows with the table: 4 bytes a key, once in a doubling.
//
// Thread safety: one writer calls what is not const; readers use a View, loaded once a burst after the
// generation. Invariants:
//  1. A key of the reader's generation is in the bucket that the reader's size gives it: after a split the
//  cells
//     that moved stay in the old bucket too, after a merge in the bucket that is beyond the new size, until
//     every reader that may have the old size is gone.
//  2. Filter words have every bit of the cells of their bucket, those that stay for old readers included.
//  3. What a reader may hold (an unlinked entry, an emptied overflow line) keeps its links until it is freed.
//  4. Whoever sees a size sees chunks and words for so many buckets at least, loading the size first. Words
//  that
//     were replaced are complete for the generations of their readers.
//
// Rounds: seal() marks what was retired so far; when every reader has been quiescent since, settle() cleans
// it up. The entries themselves are the caller's: unlinked before a seal(), they may be freed after that
// round's settle().
#pragma once

#include "dataplane/match/memory.h"
#include "dataplane/match/prefilter.h"
#include "dataplane/match/tap_record.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace flowtap::dataplane::match {

/// Pointer and tag in one word. User-space pointers have 47 bits.
using Cell = std::atomic<std::uint64_t>;

struct OverflowLine;

struct alignas(64) Bucket {
    std::array<Cell, 7> cells{};
    std::atomic<OverflowLine*> next = nullptr;
};

struct alignas(64) OverflowLine {
    std::array<Cell, 6> cells{};
    std::atomic<OverflowLine*> next = nullptr;
    OverflowLine* next_retired = nullptr;  ///< the writer's
};
static_assert(sizeof(Bucket) == 64 && sizeof(OverflowLine) == 64);

inline constexpr unsigned cell_tag_shift = 48;

inline Entry* entry_in(std::uint64_t cell) {
    constexpr std::uint64_t pointer = (std::uint64_t{1} << cell_tag_shift) - 1;
    return reinterpret_cast<Entry*>(static_cast<std::uintptr_t>(cell & pointer));
}
inline std::uint16_t tag_in(std::uint64_t cell) {
    return static_cast<std::uint16_t>(cell >> cell_tag_shift);
}

/// The first holds smallest_size buckets; each one more as many as all before it.
using Chunks = std::array<std::atomic<Bucket*>, 26>;
inline constexpr std::uint32_t smallest_size = 16;

constexpr std::size_t chunk_of(std::uint32_t bucket) {
    return static_cast<std::size_t>(std::bit_width(bucket / smallest_size));
}
constexpr std::uint32_t first_of_chunk(std::size_t chunk) {
    return (smallest_size / 2 << chunk) & ~(smallest_size - 1);
}
/// Of a bucket below the size that was loaded before.
inline Bucket& bucket_at(const Chunks& chunks, std::uint32_t bucket) {
    const std::size_t chunk = chunk_of(bucket);
    return chunks[chunk].load(std::memory_order_relaxed)[bucket - first_of_chunk(chunk)];
}

class TapIndex {
  public:
    struct View {
        Filter filter;
        const Chunks* chunks = nullptr;
        std::uint32_t mask = 0;  ///< for bucket_of

        const Bucket& bucket(std::uint32_t hash) const {
            return bucket_at(*chunks, bucket_of(hash, filter.size, mask));
        }
        /// What the prefilter says of one key.
        bool may_hold(std::uint32_t hash) const {
            const std::uint16_t tag = tag_of(hash);
            const std::uint32_t* const word =
                filter.words + 2 * std::size_t{bucket_of(hash, filter.size, mask)} + (tag & 1);
            return (filter_bits(tag) & ~__atomic_load_n(word, __ATOMIC_RELAXED)) == 0;
        }
    };

    /// Grows up to `keys` keys at full speed, takes more at less. Throws std::bad_alloc.
    TapIndex(Memory& memory, std::uint64_t keys);
    ~TapIndex();
    TapIndex(const TapIndex&) = delete;
    TapIndex& operator=(const TapIndex&) = delete;

    /// entry.hash is set. A Division stays the first of its list. False: no memory, nothing changed.
    bool insert(Entry& entry) noexcept;
    /// The entry is in the index. Readers may still see it.
    void unlink(Entry& entry) noexcept;
    /// The first entry under the key, or null.
    Entry* head(std::uint32_t hash) const noexcept;
    /// Entries under the key, counted up to the limit.
    std::size_t crowd(std::uint32_t hash, std::size_t limit) const noexcept;

    void seal() noexcept;
    /// What was sealed, at most about `budget` steps of it, each taken off the budget. True when it is done.
    bool settle(std::size_t& budget) noexcept;
    /// Something waits to be sealed or settled.
    bool unsettled() const noexcept;

    std::uint64_t keys() const { return keys_; }

    View view() const noexcept;

  private:
    std::uint32_t size() const { return size_.load(std::memory_order_relaxed); }
    Bucket& bucket(std::uint32_t number) const { return bucket_at(chunks_, number); }
    std::uint32_t home(std::uint32_t hash) const;
    Cell* find(std::uint32_t hash) const;
    Cell* find_free(Bucket& bucket);
    bool copy_moving(const Bucket& from, Bucket& to, std::uint32_t mask, std::uint32_t number);
    void refill_filter(std::uint32_t bucket);
    void drop_empty_lines(Bucket& bucket);
    void free_lines(Bucket& bucket);
    void free_line(OverflowLine* line);
    struct Words;
    std::uint32_t* words() const { return words_.load(std::memory_order_relaxed); }
    bool resize_words(std::uint32_t room);
    void free_words(Words* block);
    bool add_chunk(std::size_t chunk);
    void free_chunk(std::size_t chunk);
    bool split();
    bool merge();
    void trim();
    bool is_too_large() const;
    void adapt();
    void forget_moved(std::uint32_t bucket);

    Memory& memory_;
    std::uint32_t capacity_;  // buckets
    Chunks chunks_{};         // buckets below size are built
    std::atomic<std::uint32_t*> words_ = nullptr;
    Words* words_block_ = nullptr;  // what words_ points into
    Words* retired_words_ = nullptr;
    Words* sealed_words_ = nullptr;
    std::uint64_t keys_ = 0;
    OverflowLine* retired_ = nullptr;
    OverflowLine* sealed_lines_ = nullptr;
    // Split off and still in their old buckets too: [settled_, sealed_) of the sealed round, [sealed_, size)
    // since. Merged and still readable: [size, settled_), of which [sealed_, settled_) in the sealed round.
    // Never both kinds at once.
    std::uint32_t settled_;
    std::uint32_t sealed_;
    std::atomic<std::uint32_t> size_;
};

}  // namespace flowtap::dataplane::match
