// The readers' half of the tap table.
//
// Three steps, so that the cache misses of many frames overlap: the prefilter names the frames that may have
// a tap and asks for their buckets; the buckets name the lists and ask for their first tap; the taps are
// verified.
#include "dataplane/match/byte_order.h"
#include "dataplane/match/division.h"
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

// The three questions that candidates are asked. `lists`: the taps are wanted, not only which frames have
// any. `of_fragments`: what the frame does not say may be in another one.

struct Matching {
    static constexpr bool lists = true;
    static constexpr bool of_fragments = false;
    const HeaderBurst& burst;
    Generation generation;

    bool operator()(const TapRecord& record, std::uint32_t frame) const {
        // Most taps ask for an address, and then nobody may ask for the rest of the headers.
        if ((record.traits & trait::addresses) != 0 && (burst.ipv4 >> frame & 1) != 0) [[likely]] {
            return addresses_match(record, burst.source4[frame], burst.dest4[frame]) &&
                   record.visible(generation);
        }
        return criterion_matches(record, burst.headers[frame], burst.port) && record.visible(generation);
    }
};

struct Deciding {
    static constexpr bool lists = false;
    static constexpr bool of_fragments = true;
    const HeaderBurst& burst;
    Generation generation;

    bool operator()(const TapRecord& record, std::uint32_t frame) const {
        return match::first_fragment_decides(record, burst.headers[frame], burst.port) &&
               record.visible(generation);
    }
};

struct MatchingLate {
    static constexpr bool lists = true;
    static constexpr bool of_fragments = false;
    const HeaderBurst& burst;
    std::span<const EarlyFragment> early;
    Generation generation;

    bool operator()(const TapRecord& record, std::uint32_t frame) const {
        const EarlyFragment& then = early[frame];
        return criterion_matches(record, burst.headers[frame], burst.port) && record.visible(generation) &&
               record.visible(then.generation) &&
               (then.unmatched || !criterion_matches(record, then.headers, burst.port));
    }
};

template <typename Question>
class Reader {
  public:
    Reader(const Question& question, const Masks& masks, const KeySpace& key_space, ProbeFunction probe,
           const TapIndex::View& index, Matches* matches)
        : question_(question),
          burst_(question.burst),
          masks_(masks),
          key_space_(key_space),
          probe_(probe),
          index_(index),
          matches_(matches) {}

    void look_up_ipv4(Side side, LevelMask levels) {
        const std::size_t group = group_of(lib::Family::ipv4, side);
        const std::uint32_t* const keys = side == Side::source ? burst_.source4.data() : burst_.dest4.data();
        for (unsigned left = levels; left != 0; left &= left - 1) {
            const auto level = static_cast<std::size_t>(std::countr_zero(left));
            const Place place = place_of(group, level);
            look_up({.keys = keys,
                     .count = burst_.count,
                     .key_mask = KeySpace::ipv4_mask(level),
                     .salt = key_space_.salt(place)},
                    masks_.ipv4, place);
        }
    }

    void look_up_ipv6(Side side, LevelMask levels) {
        const std::size_t group = group_of(lib::Family::ipv6, side);
        for (unsigned left = levels; left != 0; left &= left - 1) {
            const auto level = static_cast<std::size_t>(std::countr_zero(left));
            alignas(64) std::array<std::uint32_t, max_burst> keys;
            for (std::uint64_t frames = masks_.ipv6; frames != 0; frames &= frames - 1) {
                const auto frame = static_cast<std::size_t>(std::countr_zero(frames));
                const std::uint8_t* const addresses = burst_.addresses6[frame];
                keys[frame] =
                    key_space_.fold(ipv6_address(addresses + (side == Side::source ? 0 : 16)), level);
            }
            const Place place = place_of(group, level);
            look_up({.keys = keys.data(),
                     .count = burst_.count,
                     .key_mask = ~std::uint32_t{0},
                     .salt = key_space_.salt(place)},
                    masks_.ipv6, place);
        }
    }

    /// Verifies what the look-ups found.
    void finish() {
        for (const Hit& hit : std::span(hits_).first(hit_count_)) {
            scan(hit);
        }
        walk_all();
    }

    std::uint64_t found() const { return found_; }

    void walk_unkeyed(const Entry* head, std::uint64_t frames) {
        for (; frames != 0; frames &= frames - 1) {
            walk(head, static_cast<std::uint32_t>(std::countr_zero(frames)), any_place);
        }
    }

    void walk_interfaces(const InterfaceLists& lists) {
        for (std::uint64_t left = masks_.frames; left != 0; left &= left - 1) {
            const auto frame = static_cast<std::uint32_t>(std::countr_zero(left));
            const std::size_t vlan = list_in(interface_of(burst_.port, burst_.headers[frame]));
            const bool is_packet = ((burst_.ipv4 | burst_.ipv6) >> frame & 1) != 0;
            for (const std::size_t list : {vlan, std::size_t{InterfaceLists::any}}) {
                const Entry* const head = lists.heads[list].load(std::memory_order_acquire);
                is_packet ? walk(head, frame, interface_place) : walk_whole_frames(head, frame);
            }
        }
    }

  private:
    struct Hit {
        const Bucket* bucket;
        std::uint32_t hash;
        std::uint16_t frame;
        Place place;
    };
    struct List {
        const Entry* head;
        std::uint32_t hash;
        std::uint16_t frame;
        Place place;
    };

    void look_up(const Probe& probe, std::uint64_t frames, Place place) {
        alignas(64) std::array<std::uint32_t, max_burst> hashes;
        std::uint64_t hits = probe_(index_.filter, probe, hashes.data()) & frames;
        for (; hits != 0; hits &= hits - 1) {
            const auto frame = static_cast<std::uint16_t>(std::countr_zero(hits));
            const Bucket* const bucket = &index_.bucket(hashes[frame]);
            prefetch(bucket);
            hits_[hit_count_++] = {bucket, hashes[frame], frame, place};
        }
    }

    /// Calls visit(head) for the lists that may be the hash's.
    template <typename Visit>
    static void each_list(const Bucket& bucket, std::uint32_t hash, Visit visit) {
        const std::uint16_t tag = tag_of(hash);
        const auto scan_cells = [&](const auto& cells) {
            for (const Cell& cell : cells) {
                const std::uint64_t value = cell.load(std::memory_order_acquire);
                if (tag_in(value) == tag && value != 0) {
                    visit(entry_in(value));
                }
            }
        };
        scan_cells(bucket.cells);
        for (const OverflowLine* line = bucket.next.load(std::memory_order_acquire); line != nullptr;
             line = line->next.load(std::memory_order_acquire)) {
            scan_cells(line->cells);
        }
    }

    void scan(const Hit& hit) {
        each_list(*hit.bucket, hit.hash, [&](const Entry* head) {
            if (list_count_ == lists_.size()) {
                walk_all();
            }
            prefetch(head);
            lists_[list_count_++] = {head, hit.hash, hit.frame, hit.place};
        });
    }

    void walk_all() {
        for (const List& list : std::span(lists_).first(list_count_)) {
            if (list.head->hash != list.hash) {
                continue;
            }
            const Entry* first = list.head;
            if (is_division(*first)) [[unlikely]] {
                walk_parts(division_of(*first), list);
                first = first->next.load(std::memory_order_acquire);
            }
            walk(first, list.frame, list.place);
        }
        list_count_ = 0;
    }

    /// The parts of a divided key that the frame belongs to.
    /// Apart, so that it does not take registers from what follows the common key.
    [[gnu::noinline]] void walk_parts(const Division& division, const List& key) {
        const std::uint32_t frame = key.frame;
        const Headers& headers = burst_.headers[frame];
        unsigned kinds = division.kinds.load(std::memory_order_relaxed);
        if constexpr (Question::of_fragments) {
            // Which part a fragment belongs to, its first one says: yes, without a look at the taps of all.
            if ((kinds & unsaid_by_fragments(headers.family)) != 0) {
                found_ |= std::uint64_t{1} << frame;
                return;
            }
        }
        for (kinds &= kinds_of(headers); kinds != 0; kinds &= kinds - 1) {
            const auto kind = static_cast<std::uint8_t>(std::countr_zero(kinds));
            const std::uint32_t hash = part_hash(key.hash, kind, part_value(kind, headers, burst_.port));
            if (!index_.may_hold(hash)) {
                continue;
            }
            each_list(index_.bucket(hash), hash, [&](const Entry* head) {
                if (head->hash == hash) {
                    walk(head, frame, key.place, kind);
                }
            });
        }
    }

    /// `place`: where in the key space the list was found; `kind`: of which part, 0: of the whole key. Keys
    /// of two places may share a hash, such as both addresses of one frame, and so may a part and a key; then
    /// they share a list. Each leads to its own entries only.
    [[gnu::noinline]] void walk(const Entry* entry, std::uint32_t frame, Place place, std::uint8_t kind = 0) {
        for (; entry != nullptr; entry = entry->next.load(std::memory_order_acquire)) {
            const TapRecord& record = record_of(*entry);
            if (entry->place == place && entry->kind == kind && question_(record, frame)) {
                report(*entry, record, frame);
            }
        }
    }

    /// For a frame of which no more is known than its VLAN.
    void walk_whole_frames(const Entry* entry, std::uint32_t frame) {
        for (; entry != nullptr; entry = entry->next.load(std::memory_order_acquire)) {
            const TapRecord& record = record_of(*entry);
            if ((record.traits & trait::layer2) != 0 && question_(record, frame)) {
                report(*entry, record, frame);
            }
        }
    }

    [[gnu::always_inline]] void report(const Entry& entry, const TapRecord& record, std::uint32_t frame) {
        const std::uint64_t bit = std::uint64_t{1} << frame;
        if constexpr (!Question::lists) {
            found_ |= bit;
            return;
        }
        FrameMatches& found = matches_->frames[frame];
        if ((matches_->matched & bit) == 0) {
            matches_->matched |= bit;
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
    [[gnu::noinline]] bool found_before(const Entry& entry, const TapRecord& record,
                                        const FrameMatches& found, std::uint32_t frame) const {
        const auto is_same = [&](const Match& match) { return match.slot == record.slot; };
        if (std::ranges::any_of(found, is_same)) {
            return true;
        }
        // Those that are left out are not listed: they count by the first of their keys that leads here.
        for (std::uint32_t i = 0; found.count == max_matches && &record.entry(i) != &entry; ++i) {
            if (leads_here(record.entry(i), frame)) {
                return true;
            }
        }
        return false;
    }

    bool leads_here(const Entry& entry, std::uint32_t frame) const {
        const std::uint32_t key = key_of(frame, static_cast<Place>(entry.place));
        const auto kind = static_cast<std::uint8_t>(entry.kind);
        if (kind == 0) {
            return entry.hash == key;
        }
        const Headers& headers = burst_.headers[frame];
        return (kinds_of(headers) & kind::bit(kind)) != 0 &&
               entry.hash == part_hash(key, kind, part_value(kind, headers, burst_.port));
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

    const Question question_;
    const HeaderBurst& burst_;
    const Masks masks_;
    const KeySpace& key_space_;
    const ProbeFunction probe_;
    const TapIndex::View index_;
    Matches* const matches_;   // with Question::lists
    std::uint64_t found_ = 0;  // without
    std::size_t hit_count_ = 0;
    std::size_t list_count_ = 0;
    // A frame has one family, so that it is looked up on two sides at most on all levels of that family.
    std::array<Hit, max_burst * 2 * std::max(ipv4_levels.size(), ipv6_levels.size())> hits_;
    std::array<List, 2 * max_burst> lists_;
};

}  // namespace

template <typename Question>
std::uint64_t TapTable::State::ask(const Question& question, const Masks& masks,
                                   Matches* matches) const noexcept {
    const LevelMasks levels = published.levels.load(std::memory_order_acquire);
    const std::array<const Entry*, 2> unkeyed{published.unkeyed[0].load(std::memory_order_acquire),
                                              published.unkeyed[1].load(std::memory_order_acquire)};
    Reader reader(question, masks, key_space, probe, index.view(), matches);
    for (const Side side : {Side::source, Side::dest}) {
        if (masks.ipv4 != 0) {
            reader.look_up_ipv4(side, levels_of(levels, group_of(lib::Family::ipv4, side)));
        }
        if (masks.ipv6 != 0) {
            reader.look_up_ipv6(side, levels_of(levels, group_of(lib::Family::ipv6, side)));
        }
    }
    reader.finish();
    if (unkeyed[0] != nullptr) {
        reader.walk_unkeyed(unkeyed[0], masks.ipv4);
    }
    if (unkeyed[1] != nullptr) {
        reader.walk_unkeyed(unkeyed[1], masks.ipv6);
    }
    const InterfaceLists* const lists =
        published.interfaces[question.burst.port].load(std::memory_order_acquire);
    if (lists != nullptr && lists->entries.load(std::memory_order_relaxed) != 0) {
        reader.walk_interfaces(*lists);
    }
    return reader.found();
}

void TapTable::classify(const HeaderBurst& burst, Matches& matches) const noexcept {
    matches.matched = 0;
    matches.generation = state_->published.generation.load(std::memory_order_acquire);
    state_->ask(Matching{.burst = burst, .generation = matches.generation},
                {.frames = burst.frames, .ipv4 = burst.ipv4, .ipv6 = burst.ipv6}, &matches);
}

std::uint64_t TapTable::first_fragment_decides(const HeaderBurst& burst) const noexcept {
    const State::Published& published = state_->published;
    const Generation generation = published.generation.load(std::memory_order_acquire);
    if (burst.fragments == 0 || published.ask_first_fragment.load(std::memory_order_relaxed) == 0) {
        return 0;
    }
    const std::uint64_t ipv4 = burst.ipv4 & burst.fragments;
    const std::uint64_t ipv6 = burst.ipv6 & burst.fragments;
    return state_->ask(Deciding{.burst = burst, .generation = generation},
                       {.frames = ipv4 | ipv6, .ipv4 = ipv4, .ipv6 = ipv6}, nullptr);
}

void TapTable::classify_rest(const HeaderBurst& burst, std::span<const EarlyFragment> early,
                             Matches& matches) const noexcept {
    matches.matched = 0;
    matches.generation = state_->published.generation.load(std::memory_order_acquire);
    state_->ask(MatchingLate{.burst = burst, .early = early, .generation = matches.generation},
                {.frames = burst.frames, .ipv4 = burst.ipv4, .ipv6 = burst.ipv6}, &matches);
}

}  // namespace flowtap::dataplane::match
