// The readers' half of the tap table.
//
// Three steps, so that the cache misses of many frames overlap: the prefilter names the frames that may have
// a tap and asks for their buckets; the buckets name the lists and ask for their first tap; the taps are
// verified.
#include "dataplane/match/byte_order.h"
#include "dataplane/match/tap_state.h"
#include "dataplane/match/verify.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>

namespace flowtap::dataplane::match {
namespace {

inline void prefetch(const void* address) {
    __builtin_prefetch(address);
}

Uint128 ipv6_address(const std::uint8_t* bytes) {
    return (static_cast<Uint128>(load_be64(bytes)) << 64) | load_be64(bytes + 8);
}

class Reader {
  public:
    Reader(const HeaderBurst& burst, const KeySpace& key_space, ProbeFunction probe,
           const TapIndex::View& index, Generation generation, Matches& matches)
        : burst_(burst),
          key_space_(key_space),
          probe_(probe),
          index_(index),
          generation_(generation),
          matches_(matches) {}

    void look_up_ipv4(Side side, LevelMask levels) {
        const std::size_t group = group_of(lib::Family::ipv4, side);
        const std::uint32_t* const keys = side == Side::source ? burst_.source4.data() : burst_.dest4.data();
        for (unsigned left = levels; left != 0; left &= left - 1) {
            const auto level = static_cast<std::size_t>(std::countr_zero(left));
            look_up({.keys = keys,
                     .count = burst_.count,
                     .key_mask = KeySpace::ipv4_mask(level),
                     .salt = key_space_.salt(place_of(group, level))},
                    burst_.ipv4);
        }
    }

    void look_up_ipv6(Side side, LevelMask levels) {
        const std::size_t group = group_of(lib::Family::ipv6, side);
        for (unsigned left = levels; left != 0; left &= left - 1) {
            const auto level = static_cast<std::size_t>(std::countr_zero(left));
            alignas(64) std::array<std::uint32_t, max_burst> keys;
            for (std::uint64_t frames = burst_.ipv6; frames != 0; frames &= frames - 1) {
                const auto frame = static_cast<std::size_t>(std::countr_zero(frames));
                const Headers& headers = burst_.headers[frame];
                keys[frame] = key_space_.fold(
                    ipv6_address(side == Side::source ? headers.source.data() : headers.dest.data()), level);
            }
            look_up({.keys = keys.data(),
                     .count = burst_.count,
                     .key_mask = ~std::uint32_t{0},
                     .salt = key_space_.salt(place_of(group, level))},
                    burst_.ipv6);
        }
    }

    /// Verifies what the look-ups found.
    void finish() {
        for (const Hit& hit : std::span(hits_).first(hit_count_)) {
            scan(hit);
        }
        walk_all();
    }

    void walk_unkeyed(const Entry* head, std::uint64_t frames) {
        for (; frames != 0; frames &= frames - 1) {
            walk(head, static_cast<std::uint32_t>(std::countr_zero(frames)));
        }
    }

    void walk_interfaces(const InterfaceLists& lists) {
        for (std::uint64_t left = burst_.frames; left != 0; left &= left - 1) {
            const auto frame = static_cast<std::uint32_t>(std::countr_zero(left));
            const std::size_t vlan = list_in(interface_of(burst_.port, burst_.headers[frame]));
            const bool is_packet = ((burst_.ipv4 | burst_.ipv6) >> frame & 1) != 0;
            for (const std::size_t list : {vlan, std::size_t{InterfaceLists::any}}) {
                const Entry* const head = lists.heads[list].load(std::memory_order_acquire);
                is_packet ? walk(head, frame) : walk_whole_frames(head, frame);
            }
        }
    }

  private:
    struct Hit {
        std::uint32_t hash;
        std::uint32_t frame;
    };
    struct List {
        const Entry* head;
        std::uint32_t hash;
        std::uint32_t frame;
    };

    void look_up(const Probe& probe, std::uint64_t frames) {
        alignas(64) std::array<std::uint32_t, max_burst> hashes;
        std::uint64_t hits = probe_(index_.filter, probe, hashes.data()) & frames;
        for (; hits != 0; hits &= hits - 1) {
            const auto frame = static_cast<std::uint32_t>(std::countr_zero(hits));
            prefetch(&index_.bucket(hashes[frame]));
            hits_[hit_count_++] = {hashes[frame], frame};
        }
    }

    template <typename Cells>
    void scan_cells(const Cells& cells, std::uint16_t tag, const Hit& hit) {
        for (const Cell& cell : cells) {
            const std::uint64_t value = cell.load(std::memory_order_acquire);
            if (tag_in(value) != tag || value == 0) {
                continue;
            }
            if (list_count_ == lists_.size()) {
                walk_all();
            }
            const Entry* const head = entry_in(value);
            prefetch(&record_of(*head));
            lists_[list_count_++] = {head, hit.hash, hit.frame};
        }
    }

    void scan(const Hit& hit) {
        const Bucket& bucket = index_.bucket(hit.hash);
        const std::uint16_t tag = tag_of(hit.hash);
        scan_cells(bucket.cells, tag, hit);
        for (const OverflowLine* line = bucket.next.load(std::memory_order_acquire); line != nullptr;
             line = line->next.load(std::memory_order_acquire)) {
            scan_cells(line->cells, tag, hit);
        }
    }

    void walk_all() {
        for (const List& list : std::span(lists_).first(list_count_)) {
            if (list.head->hash == list.hash) {
                walk(list.head, list.frame);
            }
        }
        list_count_ = 0;
    }

    void walk(const Entry* entry, std::uint32_t frame) {
        const Headers& headers = burst_.headers[frame];
        for (; entry != nullptr; entry = entry->next.load(std::memory_order_acquire)) {
            const TapRecord& record = record_of(*entry);
            if (criterion_matches(record, headers, burst_.port) && record.visible(generation_)) {
                report(*entry, record, frame);
            }
        }
    }

    /// For a frame of which no more is known than its VLAN.
    void walk_whole_frames(const Entry* entry, std::uint32_t frame) {
        for (; entry != nullptr; entry = entry->next.load(std::memory_order_acquire)) {
            const TapRecord& record = record_of(*entry);
            if ((record.traits & trait::layer2) != 0 &&
                criterion_matches(record, burst_.headers[frame], burst_.port) &&
                record.visible(generation_)) {
                report(*entry, record, frame);
            }
        }
    }

    void report(const Entry& entry, const TapRecord& record, std::uint32_t frame) {
        FrameMatches& found = matches_.frames[frame];
        const std::uint64_t bit = std::uint64_t{1} << frame;
        if ((matches_.matched & bit) == 0) {
            matches_.matched |= bit;
            found.count = 0;
            found.overflow = 0;
        }
        if ((record.traits & trait::many_keys) != 0 && found_before(entry, record, found, frame)) {
            return;
        }
        if (found.count == max_matches) {
            ++found.overflow;
            return;
        }
        found.taps[found.count++] = {record.payload, record.slot};
    }

    // One frame may lead to a tap by several of its keys. A slot has one tap in a generation.
    bool found_before(const Entry& entry, const TapRecord& record, const FrameMatches& found,
                      std::uint32_t frame) const {
        const auto is_same = [&](const Match& match) { return match.slot == record.slot; };
        if (std::ranges::any_of(found, is_same)) {
            return true;
        }
        // Those that are left out are not listed: they count by the first of their keys that leads here.
        for (std::uint32_t i = 0; found.count == max_matches && &record.entry(i) != &entry; ++i) {
            const Entry& earlier = record.entry(i);
            if (earlier.hash == key_of(frame, static_cast<Place>(earlier.place))) {
                return true;
            }
        }
        return false;
    }

    std::uint32_t key_of(std::uint32_t frame, Place place) const {
        const Headers& headers = burst_.headers[frame];
        const std::size_t group = place / max_levels;
        const std::size_t level = place % max_levels;
        const auto& address =
            group % 2 == static_cast<std::size_t>(Side::source) ? headers.source : headers.dest;
        return headers.family == lib::Family::ipv4
                   ? key_space_.hash(load_be32(address.data()), group, level)
                   : key_space_.hash(ipv6_address(address.data()), group, level);
    }

    const HeaderBurst& burst_;
    const KeySpace& key_space_;
    const ProbeFunction probe_;
    const TapIndex::View index_;
    const Generation generation_;
    Matches& matches_;
    std::size_t hit_count_ = 0;
    std::size_t list_count_ = 0;
    // A frame has one family, so that it is looked up on two sides at most on all levels of that family.
    std::array<Hit, max_burst * 2 * std::max(ipv4_levels.size(), ipv6_levels.size())> hits_;
    std::array<List, 2 * max_burst> lists_;
};

}  // namespace

void TapTable::classify(const HeaderBurst& burst, Matches& matches) const noexcept {
    const State& state = *state_;
    matches.matched = 0;
    const Generation generation = state.published.generation.load(std::memory_order_acquire);
    matches.generation = generation;
    const LevelMasks levels = state.published.levels.load(std::memory_order_acquire);
    const std::array<const Entry*, 2> unkeyed{state.published.unkeyed[0].load(std::memory_order_acquire),
                                              state.published.unkeyed[1].load(std::memory_order_acquire)};
    Reader reader(burst, state.key_space, state.probe, state.index.view(), generation, matches);
    for (const Side side : {Side::source, Side::dest}) {
        if (burst.ipv4 != 0) {
            reader.look_up_ipv4(side, levels_of(levels, group_of(lib::Family::ipv4, side)));
        }
        if (burst.ipv6 != 0) {
            reader.look_up_ipv6(side, levels_of(levels, group_of(lib::Family::ipv6, side)));
        }
    }
    reader.finish();
    if (unkeyed[0] != nullptr) {
        reader.walk_unkeyed(unkeyed[0], burst.ipv4);
    }
    if (unkeyed[1] != nullptr) {
        reader.walk_unkeyed(unkeyed[1], burst.ipv6);
    }
    const InterfaceLists* const lists =
        state.published.interfaces[burst.port].load(std::memory_order_acquire);
    if (lists != nullptr && lists->entries.load(std::memory_order_relaxed) != 0) {
        reader.walk_interfaces(*lists);
    }
}

}  // namespace flowtap::dataplane::match
