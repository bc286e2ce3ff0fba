// A tap table beside the plain list of what it should hold, and the check that both find the same taps.
#pragma once

#include "dataplane/match/frame_parser.h"
#include "dataplane/match/tap_table.h"
#include "test/support/random_traffic.h"
#include "test/support/reference_match.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace flowtap::test {

/// Counts what is out, and refuses when told to.
class CountingResource : public std::pmr::memory_resource {
  public:
    std::size_t bytes() const { return bytes_; }
    /// So many allocations succeed from now on, then none until `refuse_after` is called again.
    void refuse_after(std::size_t allocations) { left_ = allocations; }
    void refuse_never() { left_ = std::size_t(-1); }

  private:
    void* do_allocate(std::size_t bytes, std::size_t alignment) override {
        if (left_ == 0) {
            throw std::bad_alloc();
        }
        left_ -= left_ == std::size_t(-1) ? 0 : 1;
        bytes_ += bytes;
        return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    }
    void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
        bytes_ -= bytes;
        std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
    }
    bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }

    std::size_t bytes_ = 0;
    std::size_t left_ = std::size_t(-1);
};

/// Frames parsed as one burst.
class Burst {
  public:
    explicit Burst(const std::vector<RandomTraffic::Sample>& samples, std::uint16_t port = 0) {
        headers_->port = port;
        std::vector<dataplane::match::Frame> views;
        for (const RandomTraffic::Sample& sample : samples) {
            const auto size = static_cast<std::uint32_t>(sample.frame.size());
            views.push_back({sample.frame.data(), size, size});
        }
        parse_burst(views, *headers_);
    }
    const dataplane::match::HeaderBurst& headers() const { return *headers_; }

  private:
    std::unique_ptr<dataplane::match::HeaderBurst> headers_ =
        std::make_unique<dataplane::match::HeaderBurst>();
};

class CheckedTable {
  public:
    explicit CheckedTable(const dataplane::match::TapTable::Options& options) : table(quiescence, options) {}

    static dataplane::match::Payload payload_of(std::uint32_t slot, std::uint64_t id) {
        return dataplane::match::Payload{std::uint64_t{slot} << 32 | id};
    }

    std::uint64_t add(std::uint32_t slot, const lib::Criterion& criterion) {
        const std::uint64_t id = ++last_id_;
        INFO(to_string(criterion));
        REQUIRE(table.stage_add(lib::TapSlot{slot}, lib::TapId{id}, criterion, payload_of(slot, id)));
        staged_[slot] = Tap{id, criterion};
        return id;
    }
    void remove(std::uint32_t slot) {
        REQUIRE(table.stage_remove(lib::TapSlot{slot}, lib::TapId{staged_.at(slot).id}));
        staged_.erase(slot);
    }
    dataplane::match::Period commit() {
        live_ = staged_;
        return table.commit();
    }
    void rollback() {
        staged_ = live_;
        table.rollback();
    }
    void reclaim_all() {
        while (table.reclaim()) {
        }
    }
    bool holds(std::uint32_t slot) const { return staged_.contains(slot); }
    std::size_t size() const { return staged_.size(); }

    std::vector<dataplane::match::Payload> expected(const RandomTraffic::Sample& sample,
                                                    std::uint16_t port) const {
        std::vector<dataplane::match::Payload> taps;
        const std::optional<PacketFacts> facts =
            sample.is_packet ? std::optional(sample.facts) : std::nullopt;
        for (const auto& [slot, tap] : live_) {
            if (reference_matches(tap.criterion, facts, {port, reference_vlan(sample.frame)})) {
                taps.push_back(payload_of(slot, tap.id));
            }
        }
        return taps;
    }

    /// Frames that came in at the port. Returns how many decisions (a frame, a tap) were compared.
    std::size_t check(const std::vector<RandomTraffic::Sample>& samples, std::uint16_t port = 0) {
        const Burst burst(samples, port);
        table.classify(burst.headers(), *matches_);
        for (std::size_t i = 0; i < samples.size(); ++i) {
            const std::vector<dataplane::match::Payload> wanted = expected(samples[i], port);
            hits_ += wanted.size();
            const std::vector<dataplane::match::Payload> found = found_for(i);
            if (found == wanted) {
                continue;
            }
            const std::size_t overflow = matches_->frames[i].overflow;
            const std::set<dataplane::match::Payload> all(wanted.begin(), wanted.end());
            const bool is_part =
                std::ranges::all_of(found, [&](const auto& tap) { return all.contains(tap); });
            const std::set<dataplane::match::Payload> once(found.begin(), found.end());
            if (wanted.size() > dataplane::match::max_matches && is_part &&
                once.size() == dataplane::match::max_matches && overflow == wanted.size() - once.size()) {
                continue;
            }
            FAIL(difference(samples[i], wanted, found, overflow));
        }
        return samples.size() * live_.size();
    }

    /// Sorted.
    std::vector<dataplane::match::Payload> found_for(std::size_t frame) const {
        std::vector<dataplane::match::Payload> found;
        if ((matches_->matched >> frame & 1) != 0) {
            for (const dataplane::match::Match& match : matches_->frames[frame]) {
                REQUIRE(static_cast<std::uint64_t>(match.payload) >> 32 ==
                        static_cast<std::uint64_t>(match.slot));
                found.push_back(match.payload);
            }
            REQUIRE_FALSE(found.empty());
        }
        std::ranges::sort(found);
        return found;
    }
    const dataplane::match::Matches& matches() const { return *matches_; }
    /// Taps found by all checks so far.
    std::size_t hits() const { return hits_; }

    dataplane::match::Quiescence quiescence{4};
    dataplane::match::TapTable table;

  private:
    struct Tap {
        std::uint64_t id;
        lib::Criterion criterion;
    };

    std::string difference(const RandomTraffic::Sample& sample,
                           const std::vector<dataplane::match::Payload>& wanted,
                           const std::vector<dataplane::match::Payload>& found, std::size_t overflow) const {
        std::string text = sample.is_packet ? to_string(sample.facts) : "no packet";
        text += " vlan " + std::to_string(reference_vlan(sample.frame));
        text += "\nwanted " + std::to_string(wanted.size()) + " found " + std::to_string(found.size());
        text += " left out " + std::to_string(overflow);
        const auto list = [&](const char* title, const auto& these, const auto& those) {
            for (const auto payload : these) {
                if (std::ranges::find(those, payload) == those.end()) {
                    const auto slot = static_cast<std::uint32_t>(static_cast<std::uint64_t>(payload) >> 32);
                    text += title;
                    text += to_string(live_.at(slot).criterion).substr(0, 400);
                }
            }
        };
        list("\nmissed: ", wanted, found);
        list("\ntoo many: ", found, wanted);
        return text;
    }

    std::map<std::uint32_t, Tap> live_;
    std::map<std::uint32_t, Tap> staged_;
    std::uint64_t last_id_ = 0;
    std::size_t hits_ = 0;
    std::unique_ptr<dataplane::match::Matches> matches_ = std::make_unique<dataplane::match::Matches>();
};

}  // namespace flowtap::test
