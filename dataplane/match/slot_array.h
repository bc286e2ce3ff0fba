// The newest tap of each slot. Slots are many and mostly free, so they come in chunks, with the first tap of
// each and until its last is gone.
//
// Thread safety: the writer's.
#pragma once

#include "dataplane/match/memory.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

namespace flowtap::dataplane::match {

struct TapRecord;

class SlotArray {
  public:
    static constexpr std::size_t chunk_slots = 512;  // a page of pointers

    /// Throws std::bad_alloc.
    SlotArray(Memory& memory, std::size_t slots)
        : memory_(memory), slots_(slots), chunks_((slots + chunk_slots - 1) / chunk_slots) {
        void* const block = memory_.take(directory_bytes(), alignof(Chunk*));
        if (block == nullptr) {
            throw std::bad_alloc();
        }
        directory_ = new (block) Chunk* [chunks_] {};
    }
    ~SlotArray() {
        for (std::size_t i = 0; i < chunks_; ++i) {
            if (directory_[i] != nullptr) {
                memory_.give(directory_[i], sizeof(Chunk), alignof(Chunk));
            }
        }
        memory_.give(directory_, directory_bytes(), alignof(Chunk*));
    }
    SlotArray(const SlotArray&) = delete;
    SlotArray& operator=(const SlotArray&) = delete;

    std::size_t size() const { return slots_; }

    /// Null: no tap. The slot is below size(), here and in the next two.
    TapRecord* at(std::size_t slot) const {
        const Chunk* const chunk = directory_[slot / chunk_slots];
        return chunk == nullptr ? nullptr : chunk->records[slot % chunk_slots];
    }
    /// False: no memory, nothing changed; never where there is a tap already.
    bool set(std::size_t slot, TapRecord& record) noexcept {
        Chunk*& chunk = directory_[slot / chunk_slots];
        if (chunk == nullptr) {
            void* const block = memory_.take(sizeof(Chunk), alignof(Chunk));
            if (block == nullptr) {
                return false;
            }
            chunk = new (block) Chunk;
        }
        TapRecord*& place = chunk->records[slot % chunk_slots];
        chunk->taps += place == nullptr ? 1U : 0U;
        place = &record;
        return true;
    }
    /// There is a tap.
    void clear(std::size_t slot) noexcept {
        Chunk*& chunk = directory_[slot / chunk_slots];
        chunk->records[slot % chunk_slots] = nullptr;
        if (--chunk->taps == 0) {
            memory_.give(chunk, sizeof(Chunk), alignof(Chunk));
            chunk = nullptr;
        }
    }

    template <typename Visit>
    void for_each(Visit visit) const {
        for (std::size_t i = 0; i < chunks_; ++i) {
            for (std::size_t place = 0; directory_[i] != nullptr && place < chunk_slots; ++place) {
                if (TapRecord* const record = directory_[i]->records[place]; record != nullptr) {
                    visit(*record);
                }
            }
        }
    }

  private:
    struct Chunk {
        std::array<TapRecord*, chunk_slots> records{};
        std::uint32_t taps = 0;
    };

    std::size_t directory_bytes() const { return chunks_ * sizeof(Chunk*); }

    Memory& memory_;
    std::size_t slots_;
    std::size_t chunks_;
    Chunk** directory_;
};

}  // namespace flowtap::dataplane::match
