#include "dataplane/match/tap_index.h"

#include "dataplane/match/division.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <functional>
#include <new>
#include <utility>

namespace flowtap::dataplane::match {
namespace {

// Keys a bucket on average. Half as many buckets make the filter smaller, but let four times as many keys
// pass it that are not there, and each costs more than the filter saves.
constexpr std::uint32_t load = 2;

std::uint64_t cell_of(Entry& entry) {
    const auto pointer = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&entry));
    assert(pointer >> cell_tag_shift == 0);
    return pointer | std::uint64_t{tag_of(entry.hash)} << cell_tag_shift;
}

// Calls visit(cell) for every cell of a bucket's chain until it returns true; whether it did.
template <typename Chain, typename Visit>
bool any_cell(Chain& bucket, Visit visit) {
    for (auto& cell : bucket.cells) {
        if (visit(cell)) {
            return true;
        }
    }
    for (OverflowLine* line = bucket.next.load(std::memory_order_relaxed); line != nullptr;
         line = line->next.load(std::memory_order_relaxed)) {
        for (Cell& cell : line->cells) {
            if (visit(cell)) {
                return true;
            }
        }
    }
    return false;
}

template <typename Chain, typename Visit>
void each_cell(Chain& bucket, Visit visit) {
    any_cell(bucket, [&](auto& cell) {
        visit(cell);
        return false;
    });
}

// The mask under which the bucket was numbered when it was split off.
std::uint32_t mask_of(std::uint32_t bucket) {
    return 2 * std::bit_floor(bucket) - 1;
}

void store_word(std::uint32_t& word, std::uint32_t value) {
    std::atomic_ref(word).store(value, std::memory_order_relaxed);
}

}  // namespace

/// Its words follow.
struct alignas(64) TapIndex::Words {
    std::uint32_t room = 0;  ///< buckets
    Words* next_retired = nullptr;

    static std::size_t bytes_for(std::uint32_t room) {
        return sizeof(Words) + 2 * std::size_t{room} * sizeof(std::uint32_t);
    }
    std::uint32_t* first() { return static_cast<std::uint32_t*>(static_cast<void*>(this + 1)); }
};

TapIndex::TapIndex(Memory& memory, std::uint64_t keys)
    : memory_(memory),
      capacity_(static_cast<std::uint32_t>(
          std::bit_ceil(std::clamp<std::uint64_t>(keys, smallest_size * load, std::uint64_t{1} << 28)) /
          load)),
      settled_(smallest_size),
      sealed_(smallest_size),
      size_(smallest_size) {
    if (!add_chunk(0)) {
        throw std::bad_alloc();
    }
    if (!resize_words(smallest_size)) {
        free_chunk(0);
        throw std::bad_alloc();
    }
    for (std::uint32_t number = 0; number < smallest_size; ++number) {
        new (&bucket(number)) Bucket;
    }
}

TapIndex::~TapIndex() {
    for (std::uint32_t number = 0; number < std::max(settled_, size()); ++number) {
        free_lines(bucket(number));
    }
    for (OverflowLine*& list : {std::ref(retired_), std::ref(sealed_lines_)}) {
        while (list != nullptr) {
            free_line(std::exchange(list, list->next_retired));
        }
    }
    for (std::size_t chunk = 0; chunk < chunks_.size(); ++chunk) {
        free_chunk(chunk);
    }
    free_words(words_block_);
    free_words(retired_words_);
    free_words(sealed_words_);
}

TapIndex::View TapIndex::view() const noexcept {
    const std::uint32_t size = size_.load(std::memory_order_acquire);
    return {.filter = {.words = words_.load(std::memory_order_acquire), .size = size},
            .chunks = &chunks_,
            .mask = std::bit_ceil(size) - 1};
}

std::uint32_t TapIndex::home(std::uint32_t hash) const {
    return bucket_of(hash, size(), std::bit_ceil(size()) - 1);
}

// Every reader's size fits into both the old words and the new ones.
bool TapIndex::resize_words(std::uint32_t room) {
    void* const memory = memory_.take(Words::bytes_for(room), alignof(Words));
    if (memory == nullptr) {
        return false;
    }
    auto* const block = new (memory) Words{.room = room};
    std::fill_n(block->first(), 2 * std::size_t{room}, 0U);
    if (words_block_ != nullptr) {
        std::copy_n(words(), 2 * std::size_t{std::min(room, words_block_->room)}, block->first());
        words_block_->next_retired = std::exchange(retired_words_, words_block_);
    }
    words_block_ = block;
    words_.store(block->first(), std::memory_order_release);
    return true;
}

void TapIndex::free_words(Words* block) {
    while (block != nullptr) {
        Words* const next = block->next_retired;
        memory_.give(block, Words::bytes_for(block->room), alignof(Words));
        block = next;
    }
}

// Untouched, the rest of a large chunk costs no memory: its buckets are built when the index grows into it.
// One that the index has just shrunk out of may still be there.
bool TapIndex::add_chunk(std::size_t chunk) {
    if (chunks_[chunk].load(std::memory_order_relaxed) != nullptr) {
        return true;
    }
    const std::uint32_t buckets = std::max(first_of_chunk(chunk), smallest_size);
    void* const memory = memory_.take(buckets * sizeof(Bucket), alignof(Bucket));
    chunks_[chunk].store(static_cast<Bucket*>(memory), std::memory_order_release);
    return memory != nullptr;
}

void TapIndex::free_chunk(std::size_t chunk) {
    if (Bucket* const buckets = chunks_[chunk].exchange(nullptr, std::memory_order_relaxed)) {
        memory_.give(buckets, std::max(first_of_chunk(chunk), smallest_size) * sizeof(Bucket),
                     alignof(Bucket));
    }
}

// Cells that stay in a bucket for old readers only are of hashes that live elsewhere: never found here.
Cell* TapIndex::find(std::uint32_t hash) const {
    Cell* found = nullptr;
    any_cell(bucket(home(hash)), [&](Cell& cell) {
        const std::uint64_t value = cell.load(std::memory_order_relaxed);
        if (value == 0 || tag_in(value) != tag_of(hash) || entry_in(value)->hash != hash) {
            return false;
        }
        found = &cell;
        return true;
    });
    return found;
}

Cell* TapIndex::find_free(Bucket& bucket) {
    Cell* found = nullptr;
    const auto is_free = [&](Cell& cell) {
        found = &cell;
        return cell.load(std::memory_order_relaxed) == 0;
    };
    if (any_cell(bucket, is_free)) {
        return found;
    }
    void* const memory = memory_.take(sizeof(OverflowLine), alignof(OverflowLine));
    if (memory == nullptr) {
        return nullptr;
    }
    auto* const line = new (memory) OverflowLine;
    line->next.store(bucket.next.load(std::memory_order_relaxed), std::memory_order_relaxed);
    bucket.next.store(line, std::memory_order_release);
    return line->cells.data();
}

bool TapIndex::insert(Entry& entry) noexcept {
    entry.previous = nullptr;
    if (Cell* const cell = find(entry.hash); cell != nullptr) {
        Entry* const head = entry_in(cell->load(std::memory_order_relaxed));
        if (is_division(*head)) {
            Entry* const second = head->next.load(std::memory_order_relaxed);
            entry.next.store(second, std::memory_order_relaxed);
            entry.previous = head;
            if (second != nullptr) {
                second->previous = &entry;
            }
            head->next.store(&entry, std::memory_order_release);
            return true;
        }
        entry.next.store(head, std::memory_order_relaxed);
        head->previous = &entry;
        cell->store(cell_of(entry), std::memory_order_release);
        return true;
    }
    const std::uint32_t number = home(entry.hash);
    Cell* const cell = find_free(bucket(number));
    if (cell == nullptr) {
        return false;
    }
    entry.next.store(nullptr, std::memory_order_relaxed);
    const std::uint16_t tag = tag_of(entry.hash);
    std::uint32_t& word = words()[2 * std::size_t{number} + (tag & 1)];
    store_word(word, word | filter_bits(tag));
    cell->store(cell_of(entry), std::memory_order_release);
    ++keys_;
    adapt();
    return true;
}

void TapIndex::unlink(Entry& entry) noexcept {
    Entry* const next = entry.next.load(std::memory_order_relaxed);
    if (next != nullptr) {
        next->previous = entry.previous;
    }
    if (entry.previous != nullptr) {
        entry.previous->next.store(next, std::memory_order_release);
        return;
    }
    Cell* const cell = find(entry.hash);
    assert(cell != nullptr && entry_in(cell->load(std::memory_order_relaxed)) == &entry);
    if (next != nullptr) {
        cell->store(cell_of(*next), std::memory_order_release);
        return;
    }
    cell->store(0, std::memory_order_release);
    const std::uint32_t number = home(entry.hash);
    refill_filter(number);
    drop_empty_lines(bucket(number));
    --keys_;
    adapt();
}

Entry* TapIndex::head(std::uint32_t hash) const noexcept {
    const Cell* const cell = find(hash);
    return cell == nullptr ? nullptr : entry_in(cell->load(std::memory_order_relaxed));
}

std::size_t TapIndex::crowd(std::uint32_t hash, std::size_t limit) const noexcept {
    std::size_t count = 0;
    for (const Entry* entry = head(hash); entry != nullptr && count < limit;
         entry = entry->next.load(std::memory_order_relaxed)) {
        ++count;
    }
    return count;
}

// Copies what belongs to bucket `number` under the mask. False: no memory; `to` holds a part.
bool TapIndex::copy_moving(const Bucket& from, Bucket& to, std::uint32_t mask, std::uint32_t number) {
    return !any_cell(from, [&](const Cell& cell) {
        const std::uint64_t value = cell.load(std::memory_order_relaxed);
        if (value == 0 || (spread(entry_in(value)->hash) & mask) != number) {
            return false;
        }
        Cell* const free = find_free(to);
        if (free == nullptr) {
            return true;
        }
        free->store(value, std::memory_order_release);
        return false;
    });
}

void TapIndex::refill_filter(std::uint32_t number) {
    std::array<std::uint32_t, 2> filled{};
    each_cell(bucket(number), [&](const Cell& cell) {
        const std::uint64_t value = cell.load(std::memory_order_relaxed);
        if (value != 0) {
            filled[tag_in(value) & 1] |= filter_bits(tag_in(value));
        }
    });
    store_word(words()[2 * std::size_t{number}], filled[0]);
    store_word(words()[2 * std::size_t{number} + 1], filled[1]);
}

void TapIndex::drop_empty_lines(Bucket& bucket) {
    std::atomic<OverflowLine*>* link = &bucket.next;
    while (OverflowLine* const line = link->load(std::memory_order_relaxed)) {
        const bool empty = std::ranges::all_of(
            line->cells, [](const Cell& cell) { return cell.load(std::memory_order_relaxed) == 0; });
        if (!empty) {
            link = &line->next;
            continue;
        }
        link->store(line->next.load(std::memory_order_relaxed), std::memory_order_release);
        line->next_retired = std::exchange(retired_, line);
    }
}

void TapIndex::free_line(OverflowLine* line) {
    memory_.give(line, sizeof(OverflowLine), alignof(OverflowLine));
}

void TapIndex::free_lines(Bucket& bucket) {
    OverflowLine* line = bucket.next.exchange(nullptr, std::memory_order_relaxed);
    while (line != nullptr) {
        free_line(std::exchange(line, line->next.load(std::memory_order_relaxed)));
    }
}

bool TapIndex::is_too_large() const {
    return keys_ * 4 < std::uint64_t{size()} * load;
}

// More than one step a call, so that the size catches up after a time in which it could not change; few, so
// that no call takes long.
void TapIndex::adapt() {
    for (int step = 0; step < 2 && keys_ > std::uint64_t{size()} * load && split(); ++step) {
    }
    for (int step = 0; step < 4 && is_too_large() && merge(); ++step) {
    }
}

bool TapIndex::split() {
    const std::uint32_t number = size();
    if (number == capacity_ || number < settled_) {
        return false;
    }
    const std::size_t chunk = chunk_of(number);
    const bool first_of_its_chunk = number == first_of_chunk(chunk);
    if ((number == words_block_->room && !resize_words(2 * number)) ||
        (first_of_its_chunk && !add_chunk(chunk))) {
        return false;
    }
    const std::uint32_t mask = mask_of(number);
    Bucket& added = *new (&bucket(number)) Bucket;
    if (!copy_moving(bucket(number & (mask >> 1)), added, mask, number)) {
        free_lines(added);
        if (first_of_its_chunk) {
            free_chunk(chunk);
        }
        return false;
    }
    refill_filter(number);
    size_.store(number + 1, std::memory_order_release);
    return true;
}

bool TapIndex::merge() {
    const std::uint32_t number = size() - 1;
    if (number < smallest_size || size() > settled_) {
        return false;
    }
    const std::uint32_t mask = mask_of(number);
    const std::uint32_t into = number & (mask >> 1);
    // A part that was copied before memory ran out is harmless: nobody looks here for it, and it goes at
    // once.
    if (!copy_moving(bucket(number), bucket(into), mask, number)) {
        forget_moved(number);
        return false;
    }
    refill_filter(into);
    size_.store(number, std::memory_order_release);
    return true;
}

// Removes from the bucket that `number` was split off from what belongs to `number`.
void TapIndex::forget_moved(std::uint32_t number) {
    const std::uint32_t mask = mask_of(number);
    const std::uint32_t old = number & (mask >> 1);
    each_cell(bucket(old), [&](Cell& cell) {
        const std::uint64_t value = cell.load(std::memory_order_relaxed);
        if (value != 0 && (spread(entry_in(value)->hash) & mask) == number) {
            cell.store(0, std::memory_order_release);
        }
    });
    refill_filter(old);
    drop_empty_lines(bucket(old));
}

void TapIndex::seal() noexcept {
    assert(sealed_lines_ == nullptr && sealed_ == settled_);
    sealed_lines_ = std::exchange(retired_, nullptr);
    sealed_words_ = std::exchange(retired_words_, nullptr);
    sealed_ = size();
}

bool TapIndex::settle(std::size_t& budget) noexcept {
    while (budget > 0 && settled_ != sealed_) {
        if (settled_ < sealed_) {
            forget_moved(settled_++);
        } else {
            free_lines(bucket(--settled_));
        }
        --budget;
    }
    while (budget > 0 && sealed_lines_ != nullptr) {
        free_line(std::exchange(sealed_lines_, sealed_lines_->next_retired));
        --budget;
    }
    if (settled_ != sealed_ || sealed_lines_ != nullptr) {
        return false;
    }
    free_words(std::exchange(sealed_words_, nullptr));
    trim();
    return true;
}

// Gives back what no reader's size reaches, and goes on shrinking where the last removals could not.
void TapIndex::trim() {
    const std::uint32_t reached = std::max(size(), settled_);
    for (std::size_t chunk = chunk_of(reached - 1) + 1; chunk < chunks_.size(); ++chunk) {
        free_chunk(chunk);
    }
    if (reached <= words_block_->room / 4) {
        (void)resize_words(std::bit_ceil(reached));
    }
    for (int step = 0; step < 64 && is_too_large() && merge(); ++step) {
    }
}

bool TapIndex::unsettled() const noexcept {
    return settled_ != size() || sealed_ != size() || retired_ != nullptr || sealed_lines_ != nullptr ||
           retired_words_ != nullptr || sealed_words_ != nullptr;
}

}  // namespace flowtap::dataplane::match
