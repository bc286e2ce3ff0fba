#include "dataplane/match/tap_table.h"

#include "dataplane/match/both_directions.h"
#include "dataplane/match/tap_state.h"
#include "dataplane/match/verify.h"

#include <algorithm>
#include <new>
#include <span>
#include <utility>

namespace flowtap::dataplane::match {
namespace {

constexpr std::size_t record_alignment = 64;

// Entry::place of a tap that nothing can match: it is in no list.
constexpr Place no_place = 0xfe;

// Taps in the list of a key from which on the key is divided: for fewer, the look for a part costs more than
// the taps.
constexpr std::size_t few = 2;

// Entries that a tap of many keys may have in parts. Beyond, one entry a key has to do.
constexpr std::size_t most_parts = 4096;

std::size_t unkeyed_index(const TapRecord& record) {
    return (record.traits & trait::ipv6) != 0 ? 1 : 0;
}

template <typename Function>
void for_each_record(TapRecord& tap, Function function) {
    function(tap);
    if (tap.writer.twin != nullptr) {
        function(*tap.writer.twin);
    }
}

}  // namespace

TapTable::State::State(Quiescence& quiescence_, const Options& options)
    : key_space(options.seed),
      simd(options.simd),
      probe(probe_function(simd)),
      memory(*options.memory),
      // A tap whose range straddles two blocks has two keys.
      index(memory, std::uint64_t{options.max_taps} * 2),
      quiescence(quiescence_),
      slots(memory, options.max_taps) {}

TapTable::State::~State() {
    rollback();
    slots.for_each([this](TapRecord& record) {
        unlink(record);
        retire(record);
    });
    for (const Round& round : {open, sealed}) {
        for (TapRecord* record = round.to_unlink; record != nullptr;) {
            TapRecord& tap = *std::exchange(record, record->writer.next_removed);
            unlink(tap);
            retire(tap);
        }
    }
    for (Round* const round : {&open, &sealed}) {
        while (round->to_free != nullptr) {
            free(*std::exchange(round->to_free, round->to_free->writer.next_removed));
        }
        free_divisions(*round);
    }
    for (const auto& of_port : published.interfaces) {
        if (InterfaceLists* const lists = of_port.load(std::memory_order_relaxed); lists != nullptr) {
            memory.give(lists, sizeof(InterfaceLists), alignof(InterfaceLists));
        }
    }
}

void TapTable::State::count_level(Place place, std::int32_t change) noexcept {
    std::uint32_t& count = level_counts[place];
    count += static_cast<std::uint32_t>(change);
    const LevelMasks bit = LevelMasks{1} << place;
    const LevelMasks levels = published.levels.load(std::memory_order_relaxed);
    const LevelMasks wanted = count != 0 ? levels | bit : levels & ~bit;
    if (wanted != levels) {
        published.levels.store(wanted, std::memory_order_release);
    }
}

bool TapTable::State::link(Entry& entry) noexcept {
    if (entry.place == no_place) {
        return true;
    }
    if (entry.place == interface_place) {
        return link_to_interface(entry);
    }
    if (entry.place != any_place) {
        if (!index.insert(entry)) {
            return false;
        }
        count_level(static_cast<Place>(entry.place), 1);
        return true;
    }
    push(published.unkeyed[unkeyed_index(record_of(entry))], entry);
    return true;
}

bool TapTable::State::link_to_interface(Entry& entry) noexcept {
    std::atomic<InterfaceLists*>& of_port = published.interfaces[port_in(entry.hash)];
    InterfaceLists* lists = of_port.load(std::memory_order_relaxed);
    if (lists == nullptr) {
        void* const block = memory.take(sizeof(InterfaceLists), alignof(InterfaceLists));
        if (block == nullptr) {
            return false;
        }
        lists = new (block) InterfaceLists;
        of_port.store(lists, std::memory_order_release);
    }
    lists->entries.store(lists->entries.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    push(lists->heads[list_in(entry.hash)], entry);
    return true;
}

void TapTable::State::push(std::atomic<Entry*>& head, Entry& entry) noexcept {
    Entry* const next = head.load(std::memory_order_relaxed);
    entry.previous = nullptr;
    entry.next.store(next, std::memory_order_relaxed);
    if (next != nullptr) {
        next->previous = &entry;
    }
    head.store(&entry, std::memory_order_release);
    ++unkeyed_count;
}

Division* TapTable::State::divide(std::uint32_t key_hash) noexcept {
    if (Entry* const head = index.head(key_hash); head != nullptr && is_division(*head)) {
        return &division_of(*head);
    }
    void* const block = memory.take(sizeof(Division), alignof(Division));
    if (block == nullptr) {
        return nullptr;
    }
    auto* const division = new (block) Division;
    division->entry.hash = key_hash;
    if (!index.insert(division->entry)) {
        memory.give(division, sizeof(Division), alignof(Division));
        return nullptr;
    }
    return division;
}

bool TapTable::State::link_to_part(TapRecord& record, std::uint32_t index_, std::uint32_t key_hash) noexcept {
    Division* const division = divide(key_hash);
    if (division == nullptr) {
        return false;
    }
    Entry& entry = record.entry(index_);
    if (!index.insert(entry)) {
        retire_unused(*division);
        return false;
    }
    division->add(static_cast<std::uint8_t>(entry.kind));
    record.division(index_) = division;
    count_level(static_cast<Place>(entry.place), 1);
    return true;
}

void TapTable::State::retire_unused(Division& division) noexcept {
    if (division.users == 0) {
        index.unlink(division.entry);
        division.next_retired = std::exchange(open.divisions, &division);
        ++waiting;
    }
}

void TapTable::State::free_divisions(Round& round) noexcept {
    while (round.divisions != nullptr) {
        memory.give(std::exchange(round.divisions, round.divisions->next_retired), sizeof(Division),
                    alignof(Division));
        --waiting;
    }
}

void TapTable::State::unlink(TapRecord& record, std::uint32_t index_) noexcept {
    Entry& entry = record.entry(index_);
    if (entry.place == no_place) {
        return;
    }
    if (entry.kind != 0) {
        index.unlink(entry);
        count_level(static_cast<Place>(entry.place), -1);
        Division& division = *record.division(index_);
        division.remove(static_cast<std::uint8_t>(entry.kind));
        retire_unused(division);
        return;
    }
    std::atomic<Entry*>* head = &published.unkeyed[unkeyed_index(record_of(entry))];
    if (entry.place == interface_place) {
        InterfaceLists& lists = *published.interfaces[port_in(entry.hash)].load(std::memory_order_relaxed);
        lists.entries.store(lists.entries.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
        head = &lists.heads[list_in(entry.hash)];
    } else if (entry.place != any_place) {
        index.unlink(entry);
        count_level(static_cast<Place>(entry.place), -1);
        return;
    }
    Entry* const next = entry.next.load(std::memory_order_relaxed);
    if (next != nullptr) {
        next->previous = entry.previous;
    }
    std::atomic<Entry*>& link = entry.previous != nullptr ? entry.previous->next : *head;
    link.store(next, std::memory_order_release);
    --unkeyed_count;
}

bool TapTable::State::link(TapRecord& record) noexcept {
    for (std::uint32_t i = 0; i < record.writer.keys; ++i) {
        Entry& entry = record.entry(i);
        if (entry.kind != 0 ? !link_to_part(record, i, placements[i].key_hash) : !link(entry)) {
            while (i > 0) {
                unlink(record, --i);
            }
            return false;
        }
    }
    count_asking(record, 1);
    return true;
}

void TapTable::State::count_asking(const TapRecord& record, std::int32_t change) noexcept {
    if (asks_first_fragment(record)) {
        std::atomic<std::uint32_t>& count = published.ask_first_fragment;
        count.store(count.load(std::memory_order_relaxed) + static_cast<std::uint32_t>(change),
                    std::memory_order_relaxed);
    }
}

void TapTable::State::unlink(TapRecord& tap) noexcept {
    for_each_record(tap, [this](TapRecord& record) {
        count_asking(record, -1);
        for (std::uint32_t i = 0; i < record.writer.keys; ++i) {
            unlink(record, i);
        }
    });
}

void TapTable::State::retire(TapRecord& record) noexcept {
    record.writer.next_removed = std::exchange(open.to_free, &record);
    ++waiting;
}

void TapTable::State::free(TapRecord& tap) noexcept {
    TapRecord* const twin = tap.writer.twin;
    memory.give(&tap, tap.writer.bytes, record_alignment);
    if (twin != nullptr) {
        memory.give(twin, twin->writer.bytes, record_alignment);
    }
}

void TapTable::State::place(std::span<const Key> keys) {
    placements.clear();
    partition.choose(compiled);
    const std::span<const std::uint32_t> values = partition.values();
    const bool divisible = !values.empty() && keys.size() * values.size() <= most_parts;
    const auto is_crowded = [&](std::uint32_t hash) {
        const Entry* const head = index.head(hash);
        return head != nullptr && (is_division(*head) || index.crowd(hash, few) == few);
    };
    for (const Key& key : keys) {
        if (!divisible || key.place == interface_place || !is_crowded(key.hash)) {
            placements.push_back({key.hash, key.place, 0, key.hash});
            continue;
        }
        for (const std::uint32_t value : values) {
            placements.push_back(
                {part_hash(key.hash, partition.kind(), value), key.place, partition.kind(), key.hash});
        }
    }
}

std::expected<TapRecord*, StageError> TapTable::State::build(lib::TapSlot slot, lib::TapId id,
                                                             const lib::Criterion& criterion,
                                                             Payload payload) {
    std::span<const Key> keys;
    try {
        if (!compiled.compile(criterion)) {
            return std::unexpected(StageError::bad_criterion);
        }
        if (!compiled.never()) {
            keys = cover.choose(compiled, key_space, index);
            if (keys.empty() && !criterion.interfaces.empty()) {
                match::interface_keys(criterion.interfaces, interface_keys);
                keys = interface_keys;
            }
        }
        place(keys);
    } catch (const std::bad_alloc&) {
        return std::unexpected(StageError::no_memory);
    }

    const auto is_of_part = [](const Placement& placement) { return placement.kind != 0; };
    const EntryCount count{
        .entries = static_cast<std::uint32_t>(std::max<std::size_t>(placements.size(), 1)),
        .divided = std::ranges::any_of(placements, is_of_part),
    };
    const std::uint32_t bytes = record_bytes(compiled, count);
    void* const block = memory.take(bytes, record_alignment);
    if (block == nullptr) {
        return std::unexpected(StageError::no_memory);
    }
    TapRecord& record = *build_record(block, compiled, count);
    record.payload = payload;
    record.slot = slot;
    record.writer.id = id;
    record.first.place = compiled.never() ? no_place : any_place;
    for (std::uint32_t i = 0; i < placements.size(); ++i) {
        record.entry(i).hash = placements[i].hash;
        record.entry(i).place = placements[i].place;
        record.entry(i).kind = placements[i].kind & 0xfU;
    }
    if (keys.size() <= 1 || keys.front().place == interface_place) {
        record.traits &= static_cast<std::uint8_t>(~trait::many_keys);  // a frame meets it in one list only
    }
    if (!link(record)) {
        retire(record);
        return std::unexpected(StageError::no_memory);
    }
    return &record;
}

std::expected<TapRecord*, StageError> TapTable::State::build_both(lib::TapSlot slot, lib::TapId id,
                                                                  const lib::Criterion& criterion,
                                                                  Payload payload) {
    try {
        const OneSided sides(criterion);
        const auto first = build(slot, id, sides.parts().front(), payload);
        if (!first || sides.parts().size() == 1) {
            return first;
        }
        const auto second = build(slot, id, sides.parts().back(), payload);
        if (!second) {
            unlink(**first);
            retire(**first);
            return second;
        }
        (*first)->writer.twin = *second;
        return first;
    } catch (const std::bad_alloc&) {
        return std::unexpected(StageError::no_memory);
    }
}

void TapTable::State::rollback() noexcept {
    // Newest first, so that a slot ends with what it held before the batch.
    for (TapRecord* record = std::exchange(removed, nullptr); record != nullptr;
         record = record->writer.next_removed) {
        for_each_record(*record,
                        [](TapRecord& each) { each.removed.store(never, std::memory_order_relaxed); });
        (void)slots.set(static_cast<std::size_t>(record->slot), *record);  // a tap is there: it succeeds
    }
    TapRecord* next = std::exchange(added, nullptr);
    while (next != nullptr) {
        TapRecord& record = *std::exchange(next, next->writer.next_added);
        for_each_record(record, [](TapRecord& each) { each.added.store(never, std::memory_order_relaxed); });
        if (const auto place = static_cast<std::size_t>(record.slot); slots.at(place) == &record) {
            slots.clear(place);
        }
        unlink(record);
        retire(record);
    }
}

bool TapTable::State::reclaim(std::size_t budget) noexcept {
    while (budget > 0) {
        if (!sealed_active) {
            if (open.empty() && !index.unsettled()) {
                return false;
            }
            sealed = std::exchange(open, Round{});
            index.seal();
            sealed_period = quiescence.next_period();
            sealed_active = true;
        }
        // Stale cells first: they point to records that this round frees.
        if (!quiescence.passed(sealed_period) || !index.settle(budget)) {
            return true;
        }
        free_divisions(sealed);
        while (budget > 0 && sealed.to_free != nullptr) {
            free(*std::exchange(sealed.to_free, sealed.to_free->writer.next_removed));
            --waiting;
            --budget;
        }
        while (budget > 0 && sealed.to_unlink != nullptr) {
            TapRecord& record = *std::exchange(sealed.to_unlink, sealed.to_unlink->writer.next_removed);
            unlink(record);
            --waiting;
            retire(record);
            budget -= std::min<std::size_t>(budget, record.writer.keys);
        }
        sealed_active = !sealed.empty();
    }
    return sealed_active || !open.empty() || index.unsettled();
}

TapTable::TapTable(Quiescence& quiescence, const Options& options)
    : state_(std::make_unique<State>(quiescence, options)) {}

TapTable::~TapTable() = default;

std::expected<void, StageError> TapTable::stage_add(lib::TapSlot slot, lib::TapId id,
                                                    const lib::Criterion& criterion, Payload payload) {
    State& state = *state_;
    const auto place = static_cast<std::size_t>(slot);
    if (place >= state.slots.size()) {
        return std::unexpected(StageError::slot_out_of_range);
    }
    const TapRecord* const in_slot = state.slots.at(place);
    if (in_slot != nullptr && in_slot->removed.load(std::memory_order_relaxed) == never) {
        return std::unexpected(StageError::slot_in_use);
    }
    if (lib::term_count(criterion) > lib::max_terms) {
        return std::unexpected(StageError::bad_criterion);
    }
    std::expected<TapRecord*, StageError> built = std::unexpected(StageError::bad_criterion);
    if (!criterion.either_address) {
        built = state.build(slot, id, criterion, payload);
    } else if (criterion.either_address->family == criterion.family) {
        built = state.build_both(slot, id, criterion, payload);
    }
    if (!built) {
        return std::unexpected(built.error());
    }
    TapRecord& record = **built;
    if (!state.slots.set(place, record)) {
        state.unlink(record);
        state.retire(record);
        return std::unexpected(StageError::no_memory);
    }
    for_each_record(record, [&](TapRecord& each) {
        each.added.store(state.next_generation(), std::memory_order_relaxed);
    });
    record.writer.next_added = std::exchange(state.added, &record);
    return {};
}

std::expected<void, StageError> TapTable::stage_remove(lib::TapSlot slot, lib::TapId id) {
    State& state = *state_;
    const auto place = static_cast<std::size_t>(slot);
    if (place >= state.slots.size()) {
        return std::unexpected(StageError::slot_out_of_range);
    }
    TapRecord* const record = state.slots.at(place);
    if (record == nullptr || record->writer.id != id ||
        record->removed.load(std::memory_order_relaxed) != never) {
        return std::unexpected(StageError::unknown_slot);
    }
    for_each_record(*record, [&](TapRecord& each) {
        each.removed.store(state.next_generation(), std::memory_order_relaxed);
    });
    record->writer.next_removed = std::exchange(state.removed, record);
    return {};
}

Period TapTable::commit() noexcept {
    State& state = *state_;
    for (const TapRecord* record = std::exchange(state.added, nullptr); record != nullptr;
         record = record->writer.next_added) {
        ++state.taps;
    }
    TapRecord* next = std::exchange(state.removed, nullptr);
    while (next != nullptr) {
        TapRecord& record = *std::exchange(next, next->writer.next_removed);
        if (const auto place = static_cast<std::size_t>(record.slot); state.slots.at(place) == &record) {
            state.slots.clear(place);
        }
        record.writer.next_removed = std::exchange(state.open.to_unlink, &record);
        ++state.waiting;
        --state.taps;
    }
    state.published.generation.store(state.next_generation(), std::memory_order_release);
    return state.quiescence.next_period();
}

bool TapTable::live(Period commit) noexcept {
    return state_->quiescence.passed(commit);
}

Generation TapTable::next_generation() const noexcept {
    return state_->next_generation();
}

void TapTable::rollback() noexcept {
    state_->rollback();
}

bool TapTable::reclaim(std::size_t budget) noexcept {
    return state_->reclaim(budget);
}

TapTable::Usage TapTable::usage() const noexcept {
    return {.taps = state_->taps,
            .keys = state_->index.keys() + state_->unkeyed_count,
            .bytes = state_->memory.bytes(),
            .waiting = state_->waiting,
            .asking = state_->published.ask_first_fragment.load(std::memory_order_relaxed)};
}

Simd TapTable::simd() const noexcept {
    return state_->simd;
}

}  // namespace flowtap::dataplane::match
