#include "dataplane/match/tap_record.h"

#include <bit>
#include <cstring>
#include <new>

namespace flowtap::dataplane::match {
namespace {

constexpr std::size_t word_size = sizeof(std::uint32_t);

// Words of one range of a field.
template <typename Value>
constexpr std::size_t range_words = 2 * sizeof(Value) / word_size;
static_assert(range_words<std::uint16_t> == 1 && range_words<std::uint32_t> == 2 &&
              range_words<Uint128> == 8);

// Calls visit(field, set) for each bounded field, in the order of the fields.
template <typename Visit>
void for_each_set(const CompiledCriterion& criterion, Visit visit) {
    for (unsigned left = criterion.bounded(); left != 0; left &= left - 1) {
        const auto field = static_cast<std::size_t>(std::countr_zero(left));
        if (field == interface_field) {
            visit(field, criterion.interfaces());
        } else if (field > index_of(lib::Field::dest_address)) {
            visit(field, criterion.numbers(field));
        } else if (criterion.family() == lib::Family::ipv4) {
            visit(field, criterion.ipv4(static_cast<Side>(field)));
        } else {
            visit(field, criterion.ipv6(static_cast<Side>(field)));
        }
    }
}
static_assert(index_of(lib::Field::source_address) == static_cast<std::size_t>(Side::source) &&
              index_of(lib::Field::dest_address) == static_cast<std::size_t>(Side::dest));

template <typename Value>
std::size_t words_of(const RangeSet<Value>& set) {
    return (set.size() > 1 ? 1 : 0) + set.size() * range_words<Value>;
}

std::size_t words_of(const CompiledCriterion& criterion) {
    std::size_t words = 0;
    for_each_set(criterion, [&](std::size_t, const auto& set) { words += words_of(set); });
    return words;
}

struct Layout {
    std::size_t words;      // offset of the ranges
    std::size_t entries;    // offset of the second entry
    std::size_t divisions;  // offset of the first Division; 0: none
    std::size_t bytes;
};

Layout layout_of(const CompiledCriterion& criterion, EntryCount count) {
    const std::size_t range_bytes = words_of(criterion) * word_size;
    Layout layout{};
    const bool fits = range_bytes <= sizeof(TapRecord::inline_words);
    layout.words = fits ? offsetof(TapRecord, inline_words) : sizeof(TapRecord);
    const std::size_t end = fits ? sizeof(TapRecord) : layout.words + range_bytes;
    layout.entries = (end + alignof(Entry) - 1) / alignof(Entry) * alignof(Entry);
    layout.bytes = layout.entries + (count.entries - 1) * sizeof(Entry);
    if (count.divided) {
        layout.divisions = layout.bytes;
        layout.bytes += count.entries * sizeof(Division*);
    }
    return layout;
}

bool only_addresses(const CompiledCriterion& criterion) {
    constexpr unsigned addresses =
        1U << index_of(lib::Field::source_address) | 1U << index_of(lib::Field::dest_address);
    return !criterion.layer2() && criterion.required() == 0 && (criterion.bounded() & ~addresses) == 0;
}

}  // namespace

Entry& TapRecord::entry(std::uint32_t index) {
    if (index == 0) {
        return first;
    }
    auto* const bytes = static_cast<std::byte*>(static_cast<void*>(this)) + writer.entries;
    return static_cast<Entry*>(static_cast<void*>(bytes))[index - 1];
}

const Entry& TapRecord::entry(std::uint32_t index) const {
    if (index == 0) {
        return first;
    }
    const auto* const bytes = static_cast<const std::byte*>(static_cast<const void*>(this)) + writer.entries;
    return static_cast<const Entry*>(static_cast<const void*>(bytes))[index - 1];
}

Division*& TapRecord::division(std::uint32_t index) {
    auto* const bytes = static_cast<std::byte*>(static_cast<void*>(this)) + writer.divisions;
    return static_cast<Division**>(static_cast<void*>(bytes))[index];
}

std::uint32_t record_bytes(const CompiledCriterion& criterion, EntryCount count) {
    return static_cast<std::uint32_t>(layout_of(criterion, count).bytes);
}

TapRecord* build_record(void* block, const CompiledCriterion& criterion, EntryCount count) {
    const Layout layout = layout_of(criterion, count);
    auto* const bytes = static_cast<std::byte*>(block);
    auto* const record = new (block) TapRecord;
    record->bounded = criterion.bounded();
    record->traits = static_cast<std::uint8_t>(
        criterion.required() | (criterion.family() == lib::Family::ipv6 ? trait::ipv6 : std::uint8_t{0}) |
        (criterion.layer2() ? trait::layer2 : std::uint8_t{0}) |
        (only_addresses(criterion) ? trait::addresses : std::uint8_t{0}) |
        (count.entries > 1 ? trait::many_keys : std::uint8_t{0}));
    record->words = static_cast<std::uint8_t>(layout.words / word_size);
    record->writer.bytes = static_cast<std::uint32_t>(layout.bytes);
    record->writer.keys = count.entries;
    record->writer.entries = static_cast<std::uint32_t>(layout.entries);
    record->writer.divisions = static_cast<std::uint32_t>(layout.divisions);

    std::byte* to = bytes + layout.words;
    for_each_set(criterion, [&](std::size_t field, const auto& set) {
        if (set.size() == 1) {
            record->single |= static_cast<std::uint8_t>(1U << field);
        } else {
            const auto ranges = static_cast<std::uint32_t>(set.size());
            std::memcpy(to, &ranges, sizeof ranges);
            to += sizeof ranges;
        }
        const std::size_t size = set.size() * sizeof(set.front());
        std::memcpy(to, set.data(), size);
        to += size;
    });
    for (std::uint32_t index = 0; index < count.entries; ++index) {
        Entry& entry = record->entry(index);
        if (index != 0) {
            new (&entry) Entry;
        }
        const auto* const at = static_cast<const std::byte*>(static_cast<const void*>(&entry));
        entry.back = static_cast<std::uint32_t>(at - bytes) / 8 & 0xf'ffffU;
        if (count.divided) {
            record->division(index) = nullptr;
        }
    }
    return record;
}

}  // namespace flowtap::dataplane::match
