// A worker without DPDK: bursts go through the parser, the fragment tracker and the tap table in the order of
// dataplane/worker.cc, and what would be copied is written down by frame.
#pragma once

#include "dataplane/match/fragment_tracker.h"
#include "dataplane/match/frame_parser.h"
#include "dataplane/match/tap_table.h"
#include "test/support/packets.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

namespace flowtap::test {

class FragmentBox final : private dataplane::match::FragmentBuffers {
  public:
    static constexpr std::uint64_t clock_rate = 2'000'000'000;

    /// `room`: buffers for copies of early fragments.
    explicit FragmentBox(std::size_t room = dataplane::match::most_waiting_fragments, std::uint64_t seed = 1)
        : FragmentBox(room, {.clock_rate = clock_rate, .seed = seed}) {}
    FragmentBox(std::size_t room, const dataplane::match::FragmentTracker::Options& options)
        : room_(room), tracker_(table, *this, counters, options) {}
    ~FragmentBox() = default;
    FragmentBox(const FragmentBox&) = delete;
    FragmentBox& operator=(const FragmentBox&) = delete;

    void add(std::uint32_t slot, const lib::Criterion& criterion) {
        (void)table.stage_add(lib::TapSlot{slot}, lib::TapId{slot + 1}, criterion,
                              dataplane::match::Payload{slot});
        (void)table.commit();
    }

    /// One burst; returns the number of its first frame.
    std::size_t pass(std::span<const Bytes> frames, std::uint16_t port = 0) {
        using namespace dataplane::match;
        std::vector<Frame> views;
        const std::size_t first = cells_.size();
        for (const Bytes& frame : frames) {
            const auto size = static_cast<std::uint32_t>(frame.size());
            views.push_back({frame.data(), size, size});
            cells_.push_back({});
        }
        parse_burst(views, *burst_);
        burst_->port = port;
        const std::uint64_t early = burst_->fragments != 0 ? tracker_.complete(*burst_, now_) : 0;
        table.classify(*burst_, *matches_);
        for_each_bit(matches_->matched, [&](std::size_t i) { note(first + i, i); });
        for_each_bit(early, [&](std::size_t i) {
            tracker_.keep(buffer(first + i), port,
                          {.headers = burst_->headers[i], .generation = matches_->generation},
                          (matches_->matched >> i & 1) != 0, now_);
        });
        return first;
    }
    std::size_t pass(const Bytes& frame, std::uint16_t port = 0) { return pass(std::span(&frame, 1), port); }

    /// What a worker does between bursts.
    bool poll() {
        const bool any = tracker_.take_resolved(*resolved_);
        if (any) {
            table.classify_rest(resolved_->headers, std::span(resolved_->early).first(resolved_->count),
                                *matches_);
            for (std::size_t i = 0; i < resolved_->count; ++i) {
                if ((matches_->matched >> i & 1) != 0) {
                    note(number_of(resolved_->frames[i]), i);
                }
                free(resolved_->frames[i]);
            }
        }
        tracker_.tend(now_);
        return any;
    }
    void settle() {
        while (poll()) {
        }
    }
    void wait_ms(std::uint64_t ms) { now_ += ms * (clock_rate / 1000); }
    /// As at the end of a worker.
    void stop() {
        settle();
        tracker_.give_up();
    }

    /// Slots of the taps that got the frame, as often as they did, sorted.
    std::vector<std::uint32_t> copied(std::size_t frame) const {
        std::vector<std::uint32_t> slots = cells_[frame].slots;
        std::ranges::sort(slots);
        return slots;
    }
    std::uint64_t count(lib::WorkerCounter counter) const { return counters[counter].load(); }
    /// Copies that wait, or are ready.
    std::size_t kept() const { return kept_; }
    /// The last burst, as it was classified.
    const dataplane::match::HeaderBurst& burst() const { return *burst_; }

    dataplane::match::Quiescence quiescence{1};
    dataplane::match::TapTable table{quiescence, {.max_taps = 256}};
    lib::WorkerCounters counters{};

  private:
    struct Cell {
        std::vector<std::uint32_t> slots;
    };

    // A buffer stands for its frame: the tracker looks into none.
    rte_mbuf& buffer(std::size_t number) {
        return *static_cast<rte_mbuf*>(static_cast<void*>(&cells_[number]));
    }
    std::size_t number_of(const rte_mbuf* buffer) const {
        const auto is_it = [&](const Cell& cell) { return static_cast<const void*>(&cell) == buffer; };
        return static_cast<std::size_t>(std::ranges::find_if(cells_, is_it) - cells_.begin());
    }
    rte_mbuf* copy(const rte_mbuf& frame) override {
        return kept_ < room_ ? ++kept_, const_cast<rte_mbuf*>(&frame) : nullptr;
    }
    void free(rte_mbuf*) override { --kept_; }

    void note(std::size_t frame, std::size_t place) {
        for (const dataplane::match::Match& match : matches_->frames[place]) {
            cells_[frame].slots.push_back(static_cast<std::uint32_t>(match.slot));
        }
    }

    std::size_t room_;
    std::size_t kept_ = 0;
    std::uint64_t now_ = std::uint64_t{1} << 40;
    std::deque<Cell> cells_;
    dataplane::match::FragmentTracker tracker_;
    std::unique_ptr<dataplane::match::HeaderBurst> burst_ = std::make_unique<dataplane::match::HeaderBurst>();
    std::unique_ptr<dataplane::match::ResolvedFragments> resolved_ =
        std::make_unique<dataplane::match::ResolvedFragments>();
    std::unique_ptr<dataplane::match::Matches> matches_ = std::make_unique<dataplane::match::Matches>();
};

}  // namespace flowtap::test
