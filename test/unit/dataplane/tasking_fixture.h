// A Tasking with all that it writes to, and a burst to see what workers would.
#pragma once

#include "dataplane/tasking.h"
#include "test/unit/dataplane/sa_fixture.h"

#include <catch2/catch.hpp>

#include <optional>
#include <vector>

namespace flowtap::test {

namespace match = flowtap::dataplane::match;
using lib::Refusal;

inline constexpr std::uint32_t max_taps = 200'000;

inline lib::Config tasking_config() {
    lib::Config result;
    result.dataplane.workers = {0};
    result.dataplane.max_taps = max_taps;
    result.tunnels = flowtap::test::tunnels(1);
    result.routes = {{*lib::parse_prefix("2.2.2.0/27"), 0}};
    result.drop_policies.resize(2);
    return result;
}

struct TaskingFixture {
    lib::Config configuration = tasking_config();
    match::Quiescence quiescence{1};
    match::TapTable taps{quiescence, {.max_taps = max_taps}};
    dataplane::OwnFlows flows{quiescence};
    dataplane::SaTable sas{quiescence, *flowtap::crypto::Engine::create(), configuration.tunnels, 1500};
    lib::StatusRegion status = *lib::StatusRegion::create({max_taps, 1}, lib::new_epoch());
    dataplane::DropPolicies policies{configuration.drop_policies};
    dataplane::OverBoard over{max_taps};
    dataplane::StopSwitch stops;
    dataplane::Tasking tasking{{configuration, quiescence, taps, flows, sas, status, policies, over, stops}};
    std::uint64_t steps = 0;

    static lib::TapDestination target(std::uint16_t port) {
        lib::TapDestination destination;
        destination.dest_address = {2, 2, 2, 1};
        destination.source_address = {1, 1, 1, 1};
        destination.dest_port = port;
        destination.source_port = 6000;
        return destination;
    }
    static lib::Change add(std::uint32_t slot, std::uint64_t id, const lib::TapService& service = {}) {
        lib::TapAdd tap{.slot = lib::TapSlot{slot},
                        .id = lib::TapId{id},
                        .criterion = {},
                        .destinations = {},
                        .service = service};
        lib::IpAddress host;
        host.bytes = {10, static_cast<std::uint8_t>(id >> 16), static_cast<std::uint8_t>(id >> 8),
                      static_cast<std::uint8_t>(id)};
        tap.criterion.dest_address = {{host, host}};
        tap.destinations = {target(static_cast<std::uint16_t>(id))};
        return tap;
    }
    static lib::Change update(std::uint32_t slot, std::uint64_t id, const lib::TapService& service) {
        return lib::TapUpdated{lib::TapSlot{slot}, lib::TapId{id}, service};
    }
    static lib::Change remove(std::uint32_t slot, std::uint64_t id) {
        return lib::TapRemove{lib::TapSlot{slot}, lib::TapId{id}};
    }

    /// Nothing when it is not done within the steps.
    std::optional<dataplane::Tasking::Outcome> apply(std::vector<lib::Change> changes,
                                                     std::size_t limit = 100'000) {
        lib::Batch batch;
        batch.changes.assign(changes.begin(), changes.end());
        tasking.begin(std::move(batch));
        return go_on(limit);
    }
    std::optional<dataplane::Tasking::Outcome> go_on(std::size_t limit = 100'000) {
        for (steps = 0; steps < limit; ++steps) {
            if (const auto outcome = tasking.advance()) {
                return outcome;
            }
        }
        return std::nullopt;
    }
    Refusal refusal(std::vector<lib::Change> changes) { return apply(std::move(changes))->refusal; }

    /// What a burst that begins now sees of the one tap that matches the id's host.
    struct Seen {
        std::uint32_t slot = 0;
        const dataplane::TapCopies* copies = nullptr;
        match::Generation generation = 0;

        const dataplane::TapTerms* terms() const {
            return dataplane::terms_of(copies->terms.load(), generation);
        }
        lib::TapService service() const { return terms() != nullptr ? terms()->service : lib::TapService{}; }
    };
    std::optional<Seen> see(std::uint64_t id) const {
        static thread_local match::HeaderBurst burst;
        static thread_local match::Matches matches;
        burst = {};
        burst.count = 1;
        burst.ipv4 = 1;
        match::Headers& headers = burst.headers[0];
        headers = {};
        headers.family = lib::Family::ipv4;
        headers.dest = {10, static_cast<std::uint8_t>(id >> 16), static_cast<std::uint8_t>(id >> 8),
                        static_cast<std::uint8_t>(id)};
        headers.source = {192, 0, 2, 1};
        burst.dest4[0] = static_cast<std::uint32_t>(10U << 24 | (id & 0xffffff));
        burst.source4[0] = 0xc0000201;
        taps.classify(burst, matches);
        if (matches.matched == 0) {
            return std::nullopt;
        }
        REQUIRE(matches.frames[0].count == 1);
        const match::Match& match = matches.frames[0].taps[0];
        CHECK(dataplane::copies_of(match.payload).id == lib::TapId{id});
        return Seen{static_cast<std::uint32_t>(match.slot), &dataplane::copies_of(match.payload),
                    matches.generation};
    }
    /// The slot of the one tap that matches the id's host; nothing if none does.
    std::optional<std::uint32_t> found(std::uint64_t id) const {
        const auto seen = see(id);
        return seen ? std::optional(seen->slot) : std::nullopt;
    }
    bool own(std::uint16_t port) const {
        match::Headers headers{};
        headers.family = lib::Family::ipv4;
        headers.source = {1, 1, 1, 1};
        headers.dest = {2, 2, 2, 1};
        headers.protocol = 17;
        headers.flags = match::flag::ports;
        headers.source_port = 6000;
        headers.dest_port = port;
        return flows.contains(headers);
    }
};

}  // namespace flowtap::test
