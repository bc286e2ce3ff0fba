// Fragments as a worker treats them: whatever the order, a tap gets every fragment of its datagrams, once
// each time that it passes.
#include "test/support/fragment_box.h"
#include "test/support/random_traffic.h"
#include "test/support/reference_match.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;
using enum lib::WorkerCounter;
using Slots = std::vector<std::uint32_t>;

lib::Criterion criterion(lib::Family family, std::optional<std::uint16_t> dest_port = {}) {
    lib::Criterion made;
    made.family = family;
    const auto host = lib::parse_address(family == lib::Family::ipv4 ? "10.0.0.7" : "2001:db8::7").value();
    made.source_address = {{host, host, false}};
    if (dest_port) {
        made.dest_port = {{*dest_port, *dest_port, false}};
    }
    return made;
}
const lib::Criterion sip = criterion(lib::Family::ipv4, 5060);

/// A fragment of a UDP datagram; `index` 0 is the first one.
struct Piece {
    std::uint32_t id = 1;
    std::uint16_t index = 0;
    bool more = true;
    std::uint16_t port = 5060;
    std::string_view source = "10.0.0.7";
    std::uint16_t vlan = 0;
};

Bytes piece4(const Piece& piece) {
    Packet packet;
    if (piece.vlan != 0) {
        packet.vlan({.id = piece.vlan});
    }
    packet.ipv4({.source = piece.source,
                 .identification = static_cast<std::uint16_t>(piece.id),
                 .more_fragments = piece.more,
                 .fragment_offset = static_cast<std::uint16_t>(piece.index * 3),
                 .protocol = 17});
    if (piece.index == 0) {
        packet.udp({.source_port = 9, .dest_port = piece.port});
    }
    return packet.payload(24).frame();
}

/// Behind destination options, so that later ones do not know the protocol; or they claim `next`.
Bytes piece6(const Piece& piece, std::optional<std::uint8_t> next = {}) {
    Packet packet;
    packet.ipv6({.source = "2001:db8::7"})
        .fragment({.offset = static_cast<std::uint16_t>(piece.index * 3),
                   .more = piece.more,
                   .identification = piece.id,
                   .next_header = piece.index == 0 ? std::nullopt : std::optional(next.value_or(60))});
    if (piece.index == 0) {
        packet.dest_options().udp({.source_port = 9, .dest_port = piece.port});
    }
    return packet.payload(24).frame();
}

TEST_CASE("every order of two to six fragments: each tap gets all of its datagram's", "[fragments]") {
    const bool is_ipv6 = GENERATE(false, true);
    const bool one_burst = GENERATE(false, true);
    const lib::Family family = is_ipv6 ? lib::Family::ipv6 : lib::Family::ipv4;
    FragmentBox box;
    box.add(0, criterion(family, 5060));
    box.add(1, criterion(family));
    box.add(2, criterion(family, 5061));
    lib::Criterion ping = criterion(family);
    ping.icmp_type = {{0, 255, false}};
    box.add(3, ping);
    lib::Criterion udp = criterion(family);
    udp.protocol = {{17, 17, false}};
    box.add(4, udp);
    std::uint32_t id = 0;
    std::uint64_t datagrams = 0;
    std::uint64_t frames = 0;
    for (std::uint16_t count = 2; count <= 6; ++count) {
        std::vector<std::uint16_t> order(count);
        std::iota(order.begin(), order.end(), std::uint16_t{0});
        do {
            ++id;
            std::vector<Bytes> burst;
            for (const std::uint16_t index : order) {
                const Piece piece{.id = id, .index = index, .more = index + 1 != count};
                burst.push_back(is_ipv6 ? piece6(piece) : piece4(piece));
            }
            std::size_t first = 0;
            if (one_burst) {
                first = box.pass(burst);
            } else {
                first = box.pass(burst[0]);
                for (std::size_t i = 1; i < burst.size(); ++i) {
                    box.settle();
                    (void)box.pass(burst[i]);
                }
            }
            box.settle();
            for (std::size_t i = 0; i < count; ++i) {
                CAPTURE(i, order);
                REQUIRE(box.copied(first + i) == Slots{0, 1, 4});
            }
            ++datagrams;
            frames += count;
        } while (std::ranges::next_permutation(order).found);
    }
    CHECK(box.count(fragments_completed) + box.count(fragments_resolved) == frames - datagrams);
    CHECK(box.count(fragments_early) == box.count(fragments_resolved));
    CHECK((box.count(fragments_early) == 0) == one_burst);
    CHECK(box.count(fragments_unresolved) + box.count(fragments_held_full) + box.count(fragments_conflict) ==
          0);
    CHECK(box.kept() == 0);
}

TEST_CASE("what passes twice, or overlaps, is copied each time", "[fragments]") {
    FragmentBox box;
    box.add(0, sip);
    const std::vector<Piece> passes{{.index = 1}, {.index = 1}, {.index = 2},
                                    {},           {},           {.index = 1},
                                    {.index = 2}, {},           {.index = 1, .more = false}};
    for (const Piece& piece : passes) {
        (void)box.pass(piece4(piece));
        box.settle();
    }
    for (std::size_t i = 0; i < passes.size(); ++i) {
        CHECK(box.copied(i) == Slots{0});
    }
    CHECK(box.count(fragments_early) == 3);
    CHECK(box.count(fragments_conflict) == 0);
}

TEST_CASE("the same identification elsewhere is another datagram", "[fragments]") {
    FragmentBox box;
    lib::Criterion anywhere;
    anywhere.dest_port = {{5060, 5060, false}};
    box.add(0, anywhere);
    const std::vector<Piece> others{{.id = 2, .port = 53},
                                    {.port = 53, .source = "10.0.0.8"},
                                    {.port = 53, .vlan = 5},
                                    {.port = 53, .vlan = 6}};
    const auto pass_all = [&](std::uint16_t index) {
        std::vector<std::size_t> numbers{box.pass(piece4({.index = index}), 0)};
        for (Piece other : others) {
            other.index = index;
            numbers.push_back(box.pass(piece4(other), 0));
        }
        numbers.push_back(box.pass(piece4({.index = index, .port = 53}), 1));
        return numbers;
    };
    std::vector<std::vector<std::size_t>> rounds;
    for (const std::uint16_t index : {std::uint16_t{1}, std::uint16_t{0}, std::uint16_t{2}}) {
        rounds.push_back(pass_all(index));
    }
    box.settle();
    for (const auto& numbers : rounds) {
        CHECK(box.copied(numbers[0]) == Slots{0});
        for (std::size_t i = 1; i < numbers.size(); ++i) {
            CHECK(box.copied(numbers[i]).empty());
        }
    }
    CHECK(box.count(fragments_conflict) == 0);
}

TEST_CASE("early fragments wait a second, known datagrams five", "[fragments]") {
    FragmentBox box;
    box.add(0, sip);
    const std::size_t in_time = box.pass(piece4({.id = 1, .index = 1}));
    box.wait_ms(900);
    const std::size_t late = box.pass(piece4({.id = 2, .index = 1}));
    (void)box.pass(piece4({.id = 1}));
    box.settle();
    CHECK(box.copied(in_time) == Slots{0});
    box.wait_ms(1100);
    box.settle();
    CHECK(box.count(fragments_unresolved) == 1);
    (void)box.pass(piece4({.id = 2}));
    box.settle();
    CHECK(box.copied(late).empty());
    box.wait_ms(3700);  // 4.8 s after the first of 1
    CHECK(box.copied(box.pass(piece4({.id = 1, .index = 2}))) == Slots{0});
    box.wait_ms(1500);
    const std::size_t too_late = box.pass(piece4({.id = 2, .index = 2}));
    box.settle();
    CHECK(box.copied(too_late).empty());
    CHECK(box.kept() == 1);
    box.stop();
    CHECK(box.kept() == 0);
    CHECK(box.count(fragments_early) == 3);
    CHECK(box.count(fragments_resolved) == 1);
    CHECK(box.count(fragments_unresolved) == 2);
}

TEST_CASE("a flood of fragments that no tap could want costs no place", "[fragments]") {
    FragmentBox box;
    box.add(0, sip);
    lib::Criterion by_protocol = criterion(lib::Family::ipv4);  // a later fragment of IPv4 has its protocol
    by_protocol.protocol = {{17, 17, false}};
    by_protocol.source_address.clear();
    box.add(1, by_protocol);
    lib::Criterion other = sip;
    other.interfaces = {{3, lib::any_vlan}};
    other.source_address.clear();
    box.add(2, other);
    lib::Criterion frames;
    frames.interfaces = {{0, lib::any_vlan}};
    frames.layer2 = true;
    box.add(3, frames);
    for (std::uint32_t id = 0; id < 5000; ++id) {
        const std::size_t later = box.pass(piece4({.id = id, .index = 1, .source = "172.16.0.1"}));
        (void)box.pass(piece4({.id = id, .source = "172.16.0.1"}));
        box.settle();
        REQUIRE(box.copied(later) == Slots{1, 3});
    }
    CHECK(box.count(fragments_early) == 0);
    CHECK(box.count(fragments_completed) == 0);
    CHECK(box.copied(box.pass(piece4({.index = 1}))) == Slots{1, 3});
    CHECK(box.count(fragments_early) == 1);
    CHECK(box.copied(box.pass(Packet()
                                  .ipv4({.source = "10.0.0.7", .fragment_offset = 2, .protocol = 47})
                                  .payload(40)
                                  .frame())) == Slots{3});
    CHECK(box.count(fragments_early) == 1);  // GRE has no ports
}

TEST_CASE("while no tap asks for ports, no fragment is looked up", "[fragments]") {
    FragmentBox box;
    box.add(0, criterion(lib::Family::ipv4));
    (void)box.pass(piece4({}));
    CHECK(box.copied(box.pass(piece4({.index = 1}))) == Slots{0});
    CHECK(box.burst().headers[0].verdict == Verdict::no_ports);
    CHECK(box.table.usage().asking == 0);
    box.add(1, sip);
    CHECK(box.table.usage().asking == 1);
    (void)box.pass(piece4({.id = 2}));
    (void)box.pass(piece4({.id = 2, .index = 1}));
    CHECK(box.burst().headers[0].verdict == Verdict::ok);
    REQUIRE(box.table.stage_remove(lib::TapSlot{1}, lib::TapId{2}));
    (void)box.table.commit();
    while (box.table.reclaim()) {
    }
    CHECK(box.table.usage().asking == 0);
    (void)box.pass(piece4({.id = 2, .index = 1}));
    CHECK(box.burst().headers[0].verdict == Verdict::no_ports);
}

TEST_CASE("when too many wait, the oldest are given up and counted", "[fragments]") {
    const std::size_t room = GENERATE(std::size_t{most_waiting_fragments}, std::size_t{100});
    FragmentBox box(room);
    box.add(0, sip);
    std::vector<std::size_t> numbers;
    for (std::uint32_t id = 0; id < room + 50; ++id) {
        numbers.push_back(box.pass(piece4({.id = id, .index = 1})));
    }
    CHECK(box.kept() == room);
    CHECK(box.count(fragments_held_full) == 50);
    for (std::uint32_t id = 0; id < room + 50; ++id) {
        (void)box.pass(piece4({.id = id}));
        box.settle();
        REQUIRE(box.copied(numbers[id]) == (id < 50 ? Slots{} : Slots{0}));
    }
    CHECK(box.count(fragments_resolved) == room);
    CHECK(box.kept() == 0);
}

TEST_CASE("65,536 datagrams in flight, and the first ones come last of all that can wait", "[fragments]") {
    FragmentBox box;
    box.add(0, sip);
    for (std::uint32_t id = 0; id < 65'536; ++id) {
        (void)box.pass(piece4({.id = id, .port = id % 2 == 0 ? std::uint16_t{5060} : std::uint16_t{53}}));
    }
    std::uint32_t wrong = 0;
    for (std::uint32_t id = 0; id < 65'536; ++id) {
        const std::size_t number = box.pass(piece4({.id = id, .index = 1}));
        wrong += box.copied(number) == (id % 2 == 0 ? Slots{0} : Slots{}) ? 0U : 1U;
    }
    CHECK(wrong == 0);
    CHECK(box.count(fragments_table_full) == 0);
    CHECK(box.count(fragments_completed) == 65'536);
}

TEST_CASE("a tap gets nothing that passed before it came, nor after it went", "[fragments]") {
    FragmentBox box;
    box.add(0, sip);
    const std::size_t early = box.pass(piece4({.index = 1}));
    box.add(1, sip);
    REQUIRE(box.table.stage_remove(lib::TapSlot{0}, lib::TapId{1}));
    (void)box.table.commit();
    const std::size_t first = box.pass(piece4({}));
    box.settle();
    CHECK(box.copied(early).empty());
    CHECK(box.copied(first) == Slots{1});
    CHECK(box.copied(box.pass(piece4({.index = 2}))) == Slots{1});
}

TEST_CASE("the newest first fragment counts, also within a burst", "[fragments]") {
    FragmentBox box;
    box.add(0, sip);
    const std::vector<Bytes> burst{piece4({}), piece4({.index = 1}), piece4({.port = 53}),
                                   piece4({.index = 1}), piece4({})};
    const std::size_t first = box.pass(burst);
    CHECK(box.copied(first + 1) == Slots{0});
    CHECK(box.copied(first + 3).empty());
    CHECK(box.count(fragments_conflict) == 2);
    CHECK(box.copied(box.pass(piece4({.index = 2}))) == Slots{0});
}

TEST_CASE("of IPv6, only the first fragment says the protocol", "[fragments]") {
    FragmentBox box;
    lib::Criterion tcp = criterion(lib::Family::ipv6);
    tcp.protocol = {{6, 6, false}};
    lib::Criterion udp = criterion(lib::Family::ipv6);
    udp.protocol = {{17, 17, false}};
    box.add(0, tcp);
    box.add(1, udp);
    const std::size_t early = box.pass(piece6({.index = 1}, 6));  // it says TCP, and is UDP
    (void)box.pass(piece6({}));
    box.settle();
    CHECK(box.copied(early) == Slots{0, 1});
    CHECK(box.copied(box.pass(piece6({.index = 1}, 6))) == Slots{1});
}

TEST_CASE("first fragments that say nothing resolve nothing", "[fragments]") {
    FragmentBox box;
    box.add(0, sip);
    (void)box.pass(piece4({.index = 1}));
    (void)box.pass(
        Packet()
            .ipv4({.source = "10.0.0.7", .identification = 1, .more_fragments = true, .protocol = 17})
            .payload(3)
            .frame());
    box.settle();
    CHECK(box.kept() == 1);
    CHECK(box.count(fragments_resolved) == 0);
}

// What a fragment should be copied to: what matches it as it is, if it is early, and what matches its
// datagram.
TEST_CASE("random fragments against random criteria: what the reference says", "[fragments]") {
    const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 9)));
    RandomTraffic traffic(seed, 2);
    FragmentBox box(most_waiting_fragments, seed);
    std::vector<lib::Criterion> taps(60);
    for (std::uint32_t slot = 0; slot < taps.size(); ++slot) {
        taps[slot] = traffic.criterion(true);
        taps[slot].interfaces = traffic.chance(20) ? traffic.interfaces() : lib::InterfaceList{};
        box.add(slot, taps[slot]);
    }
    std::size_t hits = 0;
    std::size_t gained = 0;
    for (std::uint16_t id = 1; id < 400; ++id) {
        const RandomTraffic::Datagram datagram = traffic.datagram(id);
        std::vector<std::size_t> order(datagram.fragments.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        for (std::size_t i = order.size(); i > 1; --i) {
            std::swap(order[i - 1], order[traffic.below(i)]);
        }
        const auto port = static_cast<std::uint16_t>(traffic.below(4));
        std::vector<std::size_t> numbers(order.size());
        for (const std::size_t index : order) {
            numbers[index] = box.pass(datagram.fragments[index], port);
            box.settle();
        }
        bool known = false;
        for (const std::size_t index : order) {
            known = known || index == 0;
            const Reading alone = reference_parse(datagram.fragments[index]);
            const lib::InterfaceTerm arrival{port, reference_vlan(datagram.fragments[index])};
            Slots wanted;
            for (std::uint32_t slot = 0; slot < taps.size(); ++slot) {
                const bool whole = reference_matches(taps[slot], datagram.facts, arrival);
                const bool now = reference_matches(taps[slot], alone.facts, arrival);
                gained += whole && !now ? 1 : 0;
                if (whole || (!known && now)) {
                    wanted.push_back(slot);
                }
            }
            hits += wanted.size();
            CAPTURE(to_string(datagram.facts), index, order);
            REQUIRE(box.copied(numbers[index]) == wanted);
        }
    }
    CHECK(hits > 500);
    CHECK(gained > 100);
    CHECK(box.kept() == 0);
}

}  // namespace
}  // namespace flowtap::test
