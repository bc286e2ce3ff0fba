// What first fragments say, and the fragments that wait for it: the two tables by themselves.
#include "dataplane/match/fragment_table.h"

#include "dataplane/match/waiting_fragments.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <random>
#include <set>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

Headers fragment_headers(std::uint32_t id) {
    Headers headers{};
    headers.source = {10, 0, 0, 7};
    headers.dest = {192, 0, 2, 1};
    headers.protocol = 17;
    headers.family = lib::Family::ipv4;
    headers.flags = flag::later_fragment;
    headers.fragment_id = id;
    return headers;
}

FragmentKey key(std::uint32_t id) {
    return fragment_key(fragment_headers(id), 0);
}

UpperFacts facts(std::uint32_t number) {
    return {.source_port = static_cast<std::uint16_t>(number),
            .dest_port = static_cast<std::uint16_t>(number >> 16),
            .protocol = 17};
}

TEST_CASE("a datagram is its addresses, identification, VLANs and port, and the protocol of IPv4",
          "[fragments]") {
    const Headers base = fragment_headers(5);
    const auto differs = [](const Headers& first, auto change) {
        Headers other = first;
        change(other);
        return !(fragment_key(first, 3) == fragment_key(other, 3));
    };
    CHECK(fragment_key(base, 3) == fragment_key(base, 3));
    CHECK_FALSE(fragment_key(base, 3) == fragment_key(base, 4));
    CHECK(differs(base, [](Headers& h) { h.source[3] = 8; }));
    CHECK(differs(base, [](Headers& h) { h.dest[3] = 8; }));
    CHECK(differs(base, [](Headers& h) { h.fragment_id = 6; }));
    CHECK(differs(base, [](Headers& h) { h.protocol = 6; }));
    CHECK(differs(base, [](Headers& h) { h.family = lib::Family::ipv6; }));
    CHECK(differs(base, [](Headers& h) { h.outer_vlan = 1; }));
    CHECK(differs(base, [](Headers& h) { h.inner_vlan = 1; }));
    CHECK(differs(base, [](Headers& h) { h.vlan_tags = 1; }));
    CHECK_FALSE(differs(base, [](Headers& h) { h.outer_vlan = 0xe000; }));  // a priority
    CHECK_FALSE(differs(base, [](Headers& h) { h.fragment_offset = 8; }));
    Headers six = base;
    six.family = lib::Family::ipv6;
    CHECK_FALSE(differs(six, [](Headers& h) { h.protocol = 6; }));
}

TEST_CASE("65,536 datagrams in flight are all known", "[fragments]") {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
        FragmentTable table({.lifetime = 100, .seed = seed});
        for (std::uint32_t id = 0; id < 65'536; ++id) {
            REQUIRE_FALSE(table.learn(key(id), facts(id), id / 1000).evicted);
        }
        CHECK(table.size() == 65'536);
        std::uint32_t right = 0;
        for (std::uint32_t id = 0; id < 65'536; ++id) {
            const UpperFacts* const found = table.find(key(id), 65);
            right += found != nullptr && *found == facts(id) ? 1U : 0U;
        }
        CHECK(right == 65'536);
        CHECK(table.find(key(65'536), 65) == nullptr);
    }
}

TEST_CASE("a datagram is forgotten when its time is over, across the end of the clock", "[fragments]") {
    FragmentTable table({.buckets = 4, .lifetime = 100});
    const Ticks start = std::numeric_limits<Ticks>::max() - 50;
    (void)table.learn(key(1), facts(1), start);
    CHECK(table.find(key(1), start + 99) != nullptr);
    CHECK(table.find(key(1), start + 100) == nullptr);
    (void)table.learn(key(1), facts(1), start + 60);  // again: its time begins anew
    CHECK(table.find(key(1), start + 159) != nullptr);
    CHECK(table.size() == 1);
    for (int bucket = 0; bucket < 4; ++bucket) {
        table.sweep(start + 159);
    }
    CHECK(table.size() == 1);
    for (int bucket = 0; bucket < 4; ++bucket) {
        table.sweep(start + 160);
    }
    CHECK(table.size() == 0);
}

TEST_CASE("the newest facts of a datagram are kept, and a change is told", "[fragments]") {
    FragmentTable table({.buckets = 4, .lifetime = 100});
    CHECK_FALSE(table.learn(key(1), facts(1), 0).changed);
    CHECK_FALSE(table.learn(key(1), facts(1), 1).changed);
    CHECK(table.learn(key(1), facts(2), 2).changed);
    CHECK(*table.find(key(1), 3) == facts(2));
    CHECK(table.size() == 1);
    CHECK_FALSE(table.learn(key(1), facts(1), 102).changed);  // another datagram by then
}

TEST_CASE("where there is no room, the oldest goes, and what is past its time first", "[fragments]") {
    FragmentTable table({.buckets = 1, .lifetime = 100});
    for (std::uint32_t id = 0; id < FragmentTable::bucket_size; ++id) {
        REQUIRE_FALSE(table.learn(key(id), facts(id), id).evicted);
    }
    CHECK(table.learn(key(100), facts(100), 50).evicted);
    CHECK(table.find(key(0), 50) == nullptr);
    CHECK(table.find(key(1), 50) != nullptr);
    CHECK(table.size() == FragmentTable::bucket_size);
    CHECK_FALSE(table.learn(key(101), facts(101), 103).evicted);  // 1 to 3 are past their time
    CHECK(table.find(key(4), 103) != nullptr);
    CHECK(table.size() == 6);
}

// Fragments as numbers, in a list that is plainly right.
TEST_CASE("waiting fragments: what a plain list would do", "[fragments]") {
    std::mt19937 random(GENERATE(1U, 2U, 3U, 4U));
    WaitingFragments waiting(20, random(), std::pmr::new_delete_resource());
    std::deque<WaitingFragment> wait;
    std::deque<WaitingFragment> ready;
    Ticks next = 0;
    for (int step = 0; step < 20'000; ++step) {
        const std::uint32_t id = static_cast<std::uint32_t>(random()) % 12;
        switch (random() % 5) {
            case 0:
            case 1:
                if (!waiting.full()) {
                    WaitingFragment fragment;
                    fragment.key = key(id);
                    fragment.since = ++next;
                    waiting.add(fragment);
                    wait.push_back(fragment);
                }
                break;
            case 2: {
                const auto other = std::ranges::stable_partition(
                    wait, [&](const WaitingFragment& each) { return !(each.key == key(id)); });
                REQUIRE(waiting.resolve(key(id), facts(next)) == other.size());
                for (WaitingFragment& each : other) {
                    each.facts = facts(next);
                    ready.push_back(each);
                }
                wait.erase(other.begin(), other.end());
                break;
            }
            case 3:
                if (!wait.empty()) {
                    waiting.drop_oldest();
                    wait.pop_front();
                }
                break;
            default:
                if (!ready.empty()) {
                    waiting.drop_ready();
                    ready.pop_front();
                }
        }
        REQUIRE(waiting.full() == (wait.size() + ready.size() == 20));
        REQUIRE(waiting.empty() == (wait.empty() && ready.empty()));
        REQUIRE((waiting.oldest() != nullptr) == !wait.empty());
        REQUIRE((waiting.ready() != nullptr) == !ready.empty());
        if (!wait.empty()) {
            REQUIRE(waiting.oldest()->since == wait.front().since);
        }
        if (!ready.empty()) {
            REQUIRE(waiting.ready()->since == ready.front().since);
            REQUIRE(waiting.ready()->facts == ready.front().facts);
        }
    }
}

}  // namespace
}  // namespace flowtap::test
