// Workers classify while the manager adds, removes, rolls back and frees. Meant for TSan and ASan as much as
// for its checks.
#include "dataplane/match/frame_parser.h"
#include "dataplane/match/tap_table.h"
#include "test/support/packets.h"

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

constexpr std::uint32_t group_size = 8;   // taps of one group: all of them match, or none
constexpr std::uint32_t groups_made = 6;  // one frame each
constexpr std::uint32_t workers = 3;

lib::IpAddress host(std::uint32_t number) {
    lib::IpAddress address;
    address.bytes = {10, 1, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
    return address;
}

/// Tap `member` of the group: they differ in how the table finds them, not in what they match.
lib::Criterion criterion_of(std::uint32_t group, std::uint16_t member) {
    lib::Criterion criterion;
    const lib::IpAddress target = host(group * 256 + 7);
    switch (member % 4) {
        case 0:
            criterion.source_address = {{target, target, false}};
            break;
        case 1:
            criterion.source_address = {{host(group * 256), host(group * 256 + 20), false}};
            break;
        case 2:
            criterion.dest_address = {{target, target, false}};
            break;
        default:  // no positive address: found by no key
            criterion.source_address = {{host(0), host(group * 256 + 6), true},
                                        {host(group * 256 + 8), host(0xffff), true}};
            break;
    }
    criterion.protocol = {{6, 6, false}};
    if (member >= 4) {  // in a part of its key, if others have made it crowded
        const auto other = static_cast<std::uint16_t>(8000 + member);
        criterion.dest_port = {{80, 80, false}, {other, other, false}};
    }
    return criterion;
}

/// A tap of the group's host that no frame matches.
lib::Criterion neighbour_of(std::uint32_t group, std::uint32_t number) {
    lib::Criterion criterion;
    const lib::IpAddress target = host(group * 256 + 7);
    (number % 2 == 0 ? criterion.source_address : criterion.dest_address) = {{target, target, false}};
    const auto port = static_cast<std::uint16_t>(1000 + number);
    (number % 3 == 0 ? criterion.source_port : criterion.dest_port) = {{port, port, false}};
    return criterion;
}

/// Frames of all groups, twice in a burst.
struct Traffic {
    std::vector<Bytes> frames;
    std::vector<Frame> views;

    Traffic() {
        for (std::uint32_t i = 0; i < 2 * groups_made; ++i) {
            const std::string target = lib::to_string(host(i % groups_made * 256 + 7));
            frames.push_back(Packet()
                                 .ipv4({.source = target, .dest = target})
                                 .tcp({.source_port = 9, .dest_port = 80})
                                 .frame(60));
        }
        for (const Bytes& frame : frames) {
            const auto size = static_cast<std::uint32_t>(frame.size());
            views.push_back({frame.data(), size, size});
        }
    }
};

/// What a payload points to: freed by the manager when the table says that nobody has it any more.
struct Plan {
    static constexpr std::uint64_t alive = 0x600d'600d'600d'600d;
    std::uint64_t mark = alive;
    std::uint64_t version = 0;
    ~Plan() { mark = 0; }
};

Payload payload_of(const Plan& plan) {
    return Payload{std::bit_cast<std::uint64_t>(&plan)};
}

/// In every burst, every group must be there as a whole, in one version, or not at all.
void watch(const TapTable& table, Quiescence& quiescence, std::uint32_t reader, const std::atomic<bool>& stop,
           std::atomic<std::uint64_t>& bursts, std::atomic<std::uint64_t>& faults) {
    const Traffic traffic;
    const auto burst = std::make_unique<HeaderBurst>();
    const auto matches = std::make_unique<Matches>();
    while (!stop.load(std::memory_order_relaxed)) {
        parse_burst(traffic.views, *burst);
        table.classify(*burst, *matches);
        for (std::uint32_t i = 0; i < 2 * groups_made; ++i) {
            // Both frames of a group in one burst see the same commit.
            const std::uint32_t twin = (i + groups_made) % (2 * groups_made);
            const std::uint64_t seen = matches->matched >> i & 1;
            bool same = seen == (matches->matched >> twin & 1);
            std::uint32_t found = 0;
            std::uint64_t version = 0;
            if (seen != 0) {
                for (const Match& match : matches->frames[i]) {
                    const auto* const plan = std::bit_cast<const Plan*>(match.payload);
                    // A tap without a key of another group does not match this frame.
                    const bool good = plan->mark == Plan::alive && (found == 0 || plan->version == version) &&
                                      static_cast<std::uint32_t>(match.slot) / group_size == i % groups_made;
                    same = same && good;
                    version = plan->version;
                    ++found;
                }
            }
            if (!same || (found != 0 && found != group_size)) {
                faults.fetch_add(1, std::memory_order_relaxed);
            }
        }
        bursts.fetch_add(1, std::memory_order_relaxed);
        quiescence.quiescent(reader);
    }
    quiescence.leave(reader);
}

void churn(Simd simd, std::uint64_t wanted_bursts) {
    CAPTURE(to_string(simd));
    Quiescence quiescence(workers);
    TapTable table(quiescence, {.max_taps = 4096, .simd = simd, .seed = 5});
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> bursts = 0;
    std::atomic<std::uint64_t> faults = 0;
    std::vector<std::jthread> threads;
    for (std::uint32_t reader = 0; reader < workers; ++reader) {
        REQUIRE(quiescence.join(reader));
        threads.emplace_back(watch, std::cref(table), std::ref(quiescence), reader, std::cref(stop),
                             std::ref(bursts), std::ref(faults));
    }

    struct Retired {
        Period period;
        std::vector<std::unique_ptr<Plan>> plans;
    };
    std::mt19937 random(3);
    std::array<std::vector<std::unique_ptr<Plan>>, groups_made> live;
    std::vector<Retired> retired;
    std::uint64_t last_id = 0;
    std::array<std::uint64_t, groups_made> ids{};
    std::vector<std::uint64_t> other_ids(2000, 0);
    std::uint64_t commits = 0;
    bool staged_all = true;
    while (bursts.load(std::memory_order_relaxed) < wanted_bursts || commits < 300) {
        const auto group = static_cast<std::uint32_t>(random() % groups_made);
        std::vector<std::unique_ptr<Plan>> removed;
        std::vector<std::unique_ptr<Plan>> added;
        const std::uint64_t old_id = ids[group];
        if (old_id != 0) {
            for (std::uint32_t member = 0; member < group_size; ++member) {
                staged_all = staged_all && table.stage_remove(lib::TapSlot{group * group_size + member},
                                                              lib::TapId{old_id + member});
            }
            removed = std::move(live[group]);
            live[group].clear();
            ids[group] = 0;
        }
        if (old_id == 0 || random() % 2 == 0) {
            const std::uint64_t first_id = last_id + 1;
            for (std::uint16_t member = 0; member < group_size; ++member) {
                added.push_back(std::make_unique<Plan>());
                added.back()->version = first_id;
                staged_all = staged_all &&
                             table.stage_add(lib::TapSlot{group * group_size + member}, lib::TapId{++last_id},
                                             criterion_of(group, member), payload_of(*added.back()));
            }
            ids[group] = first_id;
        }
        // Other taps, that make the index split and merge under the workers' hands, and the groups' keys be
        // divided and whole again.
        const bool grow = commits / 100 % 2 == 0;
        for (int change = 0; change < 40; ++change) {
            const auto place = static_cast<std::uint32_t>(random() % other_ids.size());
            const lib::TapSlot slot{1000 + place};
            if (grow && other_ids[place] == 0) {
                lib::Criterion criterion;
                criterion.source_address = {{host(0x8000 + place), host(0x8000 + place), false}};
                if (place % 10 == 0) {
                    criterion = neighbour_of(place / 10 % groups_made, place);
                }
                other_ids[place] = ++last_id;
                staged_all = staged_all && table.stage_add(slot, lib::TapId{last_id}, criterion, Payload{});
            } else if (!grow && other_ids[place] != 0) {
                staged_all = staged_all && table.stage_remove(slot, lib::TapId{other_ids[place]});
                other_ids[place] = 0;
            }
        }
        const Period period = table.commit();
        live[group] = std::move(added);
        retired.push_back({period, std::move(removed)});
        std::erase_if(retired, [&](const Retired& batch) { return table.live(batch.period); });
        if (random() % 5 == 0) {
            // A batch that never comes to life: its payload is no address at all.
            lib::Criterion criterion;
            staged_all = staged_all &&
                         table.stage_add(lib::TapSlot{4000}, lib::TapId{++last_id}, criterion, Payload{0x10});
            table.rollback();
        }
        (void)table.reclaim(random() % 100);
        ++commits;
    }
    stop.store(true, std::memory_order_relaxed);
    threads.clear();
    CHECK(staged_all);
    CHECK(faults.load() == 0);
    CHECK(bursts.load() >= wanted_bursts);
    CHECK_FALSE(table.reclaim(std::size_t(-1)));
    CHECK(table.usage().waiting == 0);
}

TEST_CASE("a batch is seen whole or not at all, and nothing in use is freed", "[concurrency]") {
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (supported(simd)) {
            churn(simd, 3'000);
        }
    }
}

}  // namespace
}  // namespace flowtap::test
