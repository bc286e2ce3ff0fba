#include "test/fuzz/match_box.h"

#include "dataplane/match/frame_parser.h"
#include "test/fuzz/match_pools.h"
#include "test/support/facts_of.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>

namespace flowtap::fuzz {
namespace {

using namespace dataplane::match;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::abort();
}

void require(bool holds, const char* what) {
    if (!holds) {
        fail(what);
    }
}

constexpr Payload payload_of(std::size_t slot, lib::TapId id) {
    return Payload{std::uint64_t{slot} << 32 | static_cast<std::uint64_t>(id)};
}

lib::TapSlot slot_of(std::size_t number) {
    return lib::TapSlot{static_cast<std::uint32_t>(number)};
}

}  // namespace

MatchBox::MatchBox() {
    require(quiescence_.join(0), "a reader cannot join");
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (supported(simd)) {
            tables_.push_back(std::make_unique<TapTable>(
                quiescence_,
                TapTable::Options{
                    .max_taps = most_taps, .simd = simd, .memory = &memory_, .seed = table_seed}));
        }
    }
}

MatchBox::~MatchBox() {
    tables_.clear();
    require(memory_.taken() == 0, "a table has lost memory");
}

MatchBox::Scratch& MatchBox::scratch_of(std::size_t variant) {
    static const auto all = std::make_unique<std::array<Scratch, 3>>();
    return (*all)[variant];
}

/// What the variants' tables answer, which has to be the same.
template <typename Function>
auto MatchBox::each(Function function) {
    const auto first = function(*tables_.front());
    for (const auto& table : std::span(tables_).subspan(1)) {
        require(function(*table) == first, "the variants' tables answer differently");
    }
    return first;
}

void MatchBox::add(std::size_t slot, const lib::Criterion& criterion) {
    const lib::TapId id{++last_id_};
    const auto staged = each(
        [&](TapTable& table) { return table.stage_add(slot_of(slot), id, criterion, payload_of(slot, id)); });
    if (!is_free(slot)) {
        require(!staged && staged.error() == StageError::slot_in_use, "a slot is used twice");
        return;
    }
    if (!staged) {
        fail("refused: " + test::to_string(criterion));
    }
    staged_[slot] = std::make_shared<Tap>(Tap{.id = id, .criterion = criterion});
}

void MatchBox::remove(std::size_t slot) {
    const lib::TapId id = is_free(slot) ? lib::TapId{last_id_ + 1} : staged_[slot]->id;
    const auto staged = each([&](TapTable& table) { return table.stage_remove(slot_of(slot), id); });
    require(staged ? !is_free(slot) : is_free(slot) && staged.error() == StageError::unknown_slot,
            "a tap cannot be removed, or one that is not there can");
    staged_[slot] = nullptr;
}

void MatchBox::commit() {
    for (const auto& table : tables_) {
        (void)table->commit();
    }
    live_ = staged_;
    const auto taps = std::ranges::count_if(live_, [](const auto& tap) { return tap != nullptr; });
    require(each([](TapTable& table) { return table.usage().taps; }) == taps, "taps are miscounted");
}

void MatchBox::rollback() {
    for (const auto& table : tables_) {
        table->rollback();
    }
    staged_ = live_;
}

void MatchBox::reclaim(std::size_t budget) {
    (void)each([&](TapTable& table) { return table.reclaim(budget); });
}

void MatchBox::clear() {
    for (std::size_t slot = 0; slot < most_taps; ++slot) {
        if (!is_free(slot)) {
            remove(slot);
        }
    }
    commit();
    std::size_t calls = 0;
    do {
        require(++calls < 1000, "reclaiming never ends");
        quiescent();
    } while (each([](TapTable& table) { return table.reclaim(256); }));
    for (const auto& table : tables_) {
        const TapTable::Usage usage = table->usage();
        require(usage.taps + usage.keys + usage.waiting + usage.asking == 0, "something of a tap is left");
    }
}

void MatchBox::add_frame(test::Bytes bytes) {
    bytes.shrink_to_fit();  // so that a look beyond is seen
    const std::optional<test::PacketFacts> facts = test::reference_parse(bytes).facts;
    const std::uint16_t vlan = test::reference_vlan(bytes);
    frames_.push_back({std::move(bytes), facts, vlan});
}

/// A frame of frames_ that comes in at port_.
bool MatchBox::matches(Tap& tap, std::size_t frame) const {
    const std::uint32_t bit = std::uint32_t{1} << frame;
    if ((tap.asked[port_] & bit) == 0) {
        tap.asked[port_] |= bit;
        const TestFrame& asked = frames_[frame];
        const bool match = test::reference_matches(tap.criterion, asked.facts, {port_, asked.vlan});
        tap.matching[port_] |= match ? bit : 0;
    }
    return (tap.matching[port_] & bit) != 0;
}

void MatchBox::burst(std::size_t first, std::size_t count, std::uint16_t port) {
    port_ = port;
    first_ = std::min(first, frames_.size());
    const std::size_t end = std::min(first_ + count, frames_.size());
    std::vector<Frame> views;
    for (std::size_t i = first_; i < end; ++i) {
        const auto size = static_cast<std::uint32_t>(frames_[i].bytes.size());
        views.push_back({frames_[i].bytes.data(), size, size});
    }
    for (std::size_t i = 0; i < tables_.size(); ++i) {
        Scratch& scratch = scratch_of(i);
        parse_burst(views, scratch.burst, common_function(tables_[i]->simd()));
        scratch.burst.port = port_;
        tables_[i]->classify(scratch.burst, scratch.matches);
    }
    for (std::size_t i = first_; i < end; ++i) {
        std::vector<Payload> wanted;
        for (std::size_t slot = 0; slot < most_taps; ++slot) {
            if (live_[slot] != nullptr && matches(*live_[slot], i)) {
                wanted.push_back(payload_of(slot, live_[slot]->id));
            }
        }
        check(i - first_, wanted);
    }
    keep_later_fragments();
}

void MatchBox::keep_later_fragments() {
    then_ = live_;
    later_ = 0;
    const HeaderBurst& burst = scratch_of(0).burst;
    for_each_bit(burst.fragments & (burst.ipv4 | burst.ipv6), [&](std::size_t place) {
        later_ |= std::uint64_t{(burst.headers[place].flags & flag::later_fragment) != 0} << place;
    });
    for (std::size_t i = 0; i < tables_.size(); ++i) {
        Scratch& scratch = scratch_of(i);
        const std::uint64_t decided = tables_[i]->first_fragment_decides(scratch.burst);
        require(i == 0 || decided == decided_, "the variants keep other fragments");
        decided_ = decided;
        for_each_bit(later_, [&](std::size_t place) {
            scratch.early[place] = {.headers = scratch.burst.headers[place],
                                    .generation = scratch.matches.generation};
        });
    }
}

/// Of a later fragment of the last burst.
std::vector<Payload> MatchBox::found_by_first_fragment(std::size_t place, const UpperFacts& upper) {
    const TestFrame& frame = frames_[first_ + place];
    std::optional<test::PacketFacts> completed = frame.facts;
    completed->protocol = static_cast<std::uint8_t>(upper.protocol);
    const std::uint8_t parts = parts_of(upper.protocol);
    if ((parts & flag::ports) != 0) {
        completed->ports = {upper.source_port, upper.dest_port};
    }
    if ((parts & flag::icmp) != 0) {
        completed->icmp = {upper.icmp_type, upper.icmp_code};
    }
    std::vector<Payload> wanted;
    for (std::size_t slot = 0; slot < most_taps; ++slot) {
        if (then_[slot] != nullptr && !matches(*then_[slot], first_ + place) &&
            test::reference_matches(then_[slot]->criterion, completed, {port_, frame.vlan})) {
            require((decided_ >> place & 1) != 0, "a fragment is not kept that a tap waits for");
            if (live_[slot] == then_[slot]) {
                wanted.push_back(payload_of(slot, live_[slot]->id));
            }
        }
    }
    return wanted;
}

void MatchBox::complete(const UpperFacts& upper) {
    std::uint64_t completed = 0;
    for_each_bit(later_, [&](std::size_t place) {
        const test::PacketFacts& facts = *frames_[first_ + place].facts;
        const bool is_its = facts.source.family == lib::Family::ipv6 || facts.protocol == upper.protocol;
        completed |= std::uint64_t{is_its} << place;
    });
    if (completed == 0) {
        return;
    }
    for (std::size_t i = 0; i < tables_.size(); ++i) {
        Scratch& scratch = scratch_of(i);
        HeaderBurst& burst = scratch.burst;
        for_each_bit(completed, [&](std::size_t place) {
            burst.headers[place] = scratch.early[place].headers;
            dataplane::match::complete(burst.headers[place], upper);
        });
        const std::array<std::uint64_t, 3> all{burst.frames, burst.ipv4, burst.ipv6};
        for (std::uint64_t* const mask : {&burst.frames, &burst.ipv4, &burst.ipv6}) {
            *mask &= completed;
        }
        tables_[i]->classify_rest(burst, scratch.early, scratch.matches);
        burst.frames = all[0];
        burst.ipv4 = all[1];
        burst.ipv6 = all[2];
    }
    for_each_bit(completed, [&](std::size_t place) { check(place, found_by_first_fragment(place, upper)); });
}

/// `wanted` is sorted.
void MatchBox::check(std::size_t place, const std::vector<Payload>& wanted) {
    std::vector<Payload> in_order;  // of the first variant
    for (std::size_t i = 0; i < tables_.size(); ++i) {
        const Matches& matches = scratch_of(i).matches;
        const FrameMatches& of_frame = matches.frames[place];
        const bool any = (matches.matched >> place & 1) != 0;
        std::vector<Payload> found;
        for (const Match& match : std::span(of_frame.begin(), any ? of_frame.count : 0)) {
            found.push_back(match.payload);
            require(static_cast<std::uint64_t>(match.payload) >> 32 == static_cast<std::uint64_t>(match.slot),
                    "a match has another tap's slot");
        }
        const std::size_t overflow = any ? of_frame.overflow : 0;
        require(any == !found.empty(), "a frame matches no tap");
        in_order = i == 0 ? found : in_order;
        require(found == in_order, "the variants find other taps, or in another order");
        std::ranges::sort(found);
        const bool each_once = std::ranges::adjacent_find(found) == found.end();
        if (!each_once || !std::ranges::includes(wanted, found) ||
            found.size() != std::min(wanted.size(), max_matches) ||
            found.size() + overflow != wanted.size()) {
            tell(i, place, wanted, found, overflow);
        }
    }
}

void MatchBox::tell(std::size_t variant, std::size_t place, const std::vector<Payload>& wanted,
                    const std::vector<Payload>& found, std::size_t overflow) const {
    const TestFrame& frame = frames_[first_ + place];
    std::string text = "variant " + std::string(to_string(tables_[variant]->simd())) + ", frame at port " +
                       std::to_string(port_) + " vlan " + std::to_string(frame.vlan) + ", " +
                       (frame.facts ? test::to_string(*frame.facts) : "not to be matched") + ": " +
                       std::to_string(found.size()) + " taps found and " + std::to_string(overflow) +
                       " left out, of " + std::to_string(wanted.size());
    const auto differ = [&](const auto& one, const auto& other, const char* what) {
        for (const Payload payload : one) {
            if (!std::ranges::binary_search(other, payload)) {
                const std::size_t slot = static_cast<std::uint64_t>(payload) >> 32;
                text += '\n';
                text += what;
                text += ", slot ";
                text += std::to_string(slot);
                text += ": ";
                text += live_[slot] != nullptr ? test::to_string(live_[slot]->criterion) : "no tap";
            }
        }
    };
    differ(wanted, found, "missing");
    differ(found, wanted, "wrong");
    fail(text);
}

}  // namespace flowtap::fuzz
