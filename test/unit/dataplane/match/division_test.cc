// Many taps of one host: all that match are found, whatever tells them apart, and what is made for it goes
// with the last of them.
#include "dataplane/match/division.h"

#include "dataplane/match/frame_filter.h"
#include "test/support/fragment_box.h"
#include "test/unit/dataplane/match/table_fixture.h"

#include <cstdlib>
#include <set>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

constexpr std::uint32_t most_taps = 1000;

/// Taps of a host or two that name all that a tap can, and frames that come from and go to them.
class Crowd {
  public:
    explicit Crowd(std::uint64_t seed) : random_(seed) {}

    std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
    bool chance(std::uint32_t percent) { return below(100) < percent; }

    lib::Criterion tap() {
        lib::Criterion criterion;
        criterion.family = chance(70) ? lib::Family::ipv4 : lib::Family::ipv6;
        const lib::IpAddress host = hosts(criterion.family)[below(2)];
        const lib::IpAddress peer = hosts(criterion.family)[2 + below(2)];
        switch (below(5)) {
            case 0:
                criterion.either_address = host;
                break;
            case 1:  // two keys, or more
                criterion.source_address = {{hosts(criterion.family)[0], hosts(criterion.family)[1], false},
                                            {peer, peer, false}};
                break;
            case 2:
                criterion.dest_address = {{host, host, false}};
                break;
            default:
                criterion.source_address = {{host, host, false}};
                break;
        }
        if (chance(20) && criterion.dest_address.empty()) {
            criterion.dest_address = {{peer, peer, chance(50)}};
        }
        if (chance(50)) {
            criterion.dest_port = ports();
        }
        if (chance(40)) {
            criterion.source_port = ports();
        }
        if (chance(30)) {
            criterion.protocol = {{protocols[below(3)], protocols[below(3)], chance(20)}};
            lib::NumberTerm& term = criterion.protocol[0];
            term.last = std::max(term.first, term.last);
        }
        if (chance(5)) {
            criterion.icmp_type = {{8, 8, chance(50)}};
        }
        if (chance(30)) {
            for (std::uint32_t count = 1 + below(3); count > 0; --count) {
                criterion.interfaces.push_back(
                    {static_cast<std::uint16_t>(below(2)),
                     chance(10) ? lib::any_vlan : static_cast<std::uint16_t>(below(30))});
            }
        }
        return criterion;
    }

    RandomTraffic::Sample frame() {
        RandomTraffic::Sample sample;
        const lib::Family family = chance(70) ? lib::Family::ipv4 : lib::Family::ipv6;
        PacketFacts& facts = sample.facts;
        facts.source = hosts(family)[below(4)];
        facts.dest = hosts(family)[below(4)];
        const PortFields port_fields{port(), port()};
        const bool later = chance(5);
        Packet packet;
        if (chance(50)) {
            packet.vlan({.id = static_cast<std::uint16_t>(below(30))});
        }
        const std::string source = lib::to_string(facts.source);
        const std::string dest = lib::to_string(facts.dest);
        if (family == lib::Family::ipv4) {
            packet.ipv4({.source = source,
                         .dest = dest,
                         .fragment_offset = static_cast<std::uint16_t>(later ? 1 + below(100) : 0)});
        } else {
            packet.ipv6({.source = source, .dest = dest});
            if (later) {
                packet.fragment({.offset = static_cast<std::uint16_t>(1 + below(100))});
            }
        }
        const std::uint16_t protocol = protocols[below(3)];
        facts.protocol = static_cast<std::uint8_t>(protocol);
        if (protocol == 1) {
            packet.icmp({.type = 8});
            if (!later) {
                facts.icmp = {8, 0};
            }
        } else {
            protocol == 6 ? packet.tcp(port_fields) : packet.udp(port_fields);
            if (!later) {
                facts.ports = {port_fields.source_port, port_fields.dest_port};
            }
        }
        sample.frame = packet.frame(60);
        return sample;
    }

    std::vector<RandomTraffic::Sample> frames() {
        std::vector<RandomTraffic::Sample> made(max_burst);
        std::ranges::generate(made, [&] { return frame(); });
        return made;
    }

  private:
    static constexpr std::array<std::uint16_t, 3> protocols{1, 6, 17};

    /// Two tapped ones, two others.
    static const std::array<lib::IpAddress, 4>& hosts(lib::Family family) {
        const auto parse = [](std::string_view text) { return lib::parse_address(text).value(); };
        static const std::array<lib::IpAddress, 4> ipv4{parse("10.0.0.15"), parse("10.0.0.16"),
                                                        parse("192.0.2.1"), parse("192.0.2.2")};
        static const std::array<lib::IpAddress, 4> ipv6{parse("2001:db8::ff"), parse("2001:db8::100"),
                                                        parse("2001:db8:1::1"), parse("2001:db8:1::2")};
        return family == lib::Family::ipv4 ? ipv4 : ipv6;
    }

    /// Few, at the edges of blocks of every size.
    std::uint16_t port() {
        static constexpr std::array<std::uint16_t, 6> edges{0, 16, 256, 4096, 8192, 65520};
        return static_cast<std::uint16_t>(edges[below(6)] + below(20) - 4);
    }

    lib::NumberList ports() {
        lib::NumberList list(chance(70) ? 1 : 1 + below(20));
        for (lib::NumberTerm& term : list) {
            term.first = term.last = port();
            if (chance(30)) {
                term.last = chance(50) ? port() : static_cast<std::uint16_t>(term.first | 0xff);
            }
            if (term.last < term.first) {
                std::swap(term.first, term.last);
            }
            term.negated = chance(15);
        }
        return list;
    }

    std::mt19937_64 random_;
};

std::size_t wanted_decisions() {
    if (const char* const text = std::getenv("FLOWTAP_DECISIONS"); text != nullptr) {
        return std::strtoull(text, nullptr, 10);
    }
    return 2'000'000;
}

TEST_CASE("a thousand taps of one host are decided as the reference does, while they come and go",
          "[division][table][exact]") {
    std::size_t decisions = 0;
    std::size_t hits = 0;
    for (std::uint64_t seed = 1; decisions < wanted_decisions(); ++seed) {
        for (const Simd simd : {Simd::portable, best_simd()}) {
            CAPTURE(seed, to_string(simd));
            Crowd crowd(seed);
            CheckedTable table({.max_taps = most_taps, .simd = simd, .seed = seed});
            REQUIRE(table.quiescence.join(0));
            // From few taps to all, half of the time about as many, down to none.
            for (const std::uint32_t come : {100U, 50U, 50U, 0U}) {
                for (int round = 0; round < 10 || (come == 0 && table.size() > 0); ++round) {
                    for (std::uint32_t change = crowd.below(most_taps / 3); change > 0; --change) {
                        const std::uint32_t slot = crowd.below(most_taps);
                        if (crowd.chance(come) && !table.holds(slot)) {
                            table.add(slot, crowd.tap());
                        } else if (!crowd.chance(come) && table.holds(slot)) {
                            table.remove(slot);
                        }
                    }
                    crowd.chance(10) ? table.rollback() : static_cast<void>(table.commit());
                    decisions += table.check(crowd.frames(), static_cast<std::uint16_t>(crowd.below(2)));
                    table.quiescence.quiescent(0);
                    (void)table.table.reclaim(crowd.below(300));
                }
            }
            (void)table.commit();
            table.quiescence.leave(0);
            table.reclaim_all();
            CHECK(table.table.usage().keys == 0);
            CHECK(table.table.usage().waiting == 0);
            hits += table.hits();
        }
    }
    CHECK(hits * 100 > decisions);
}

TEST_CASE("a frame that a criterion matches belongs to one of the criterion's parts", "[division]") {
    Crowd crowd(3);
    CompiledCriterion compiled;
    Partition partition;
    HeaderBurst burst;
    std::array<std::size_t, kind::count> kinds{};
    std::size_t matched = 0;
    for (int round = 0; round < 2000; ++round) {
        lib::Criterion criterion = crowd.tap();
        criterion.either_address.reset();
        REQUIRE(compiled.compile(criterion));
        partition.choose(compiled);
        const std::set<std::uint32_t> values(partition.values().begin(), partition.values().end());
        REQUIRE(values.size() == partition.values().size());
        REQUIRE(values.size() <= Partition::most);
        ++kinds[partition.kind()];
        if (partition.kind() == 0) {
            REQUIRE(values.empty());
            continue;
        }
        const auto filter = FrameFilter::compile(criterion).value();
        std::vector<Frame> views;
        const std::vector<RandomTraffic::Sample> samples = crowd.frames();
        for (const RandomTraffic::Sample& sample : samples) {
            const auto size = static_cast<std::uint32_t>(sample.frame.size());
            views.push_back({sample.frame.data(), size, size});
        }
        parse_burst(views, burst);
        for (std::size_t i = 0; i < burst.count; ++i) {
            const Headers& headers = burst.headers[i];
            if (!filter.matches(headers, 1)) {
                continue;
            }
            ++matched;
            REQUIRE((kinds_of(headers) & kind::bit(partition.kind())) != 0);
            REQUIRE(values.contains(part_value(partition.kind(), headers, 1)));
        }
    }
    CHECK(matched > 1000);
    for (const std::size_t made : kinds) {  // not divisible, and each kind of part
        CHECK(made > 10);
    }
}

lib::Criterion of_host(std::uint16_t first, std::uint16_t last) {
    lib::Criterion criterion;
    const lib::IpAddress host = lib::parse_address("10.0.0.7").value();
    criterion.source_address = {{host, host, false}};
    criterion.dest_port = {{first, last, false}};
    return criterion;
}

TEST_CASE("parts are of what leaves fewest frames", "[division]") {
    CompiledCriterion compiled;
    Partition partition;
    const auto kind_of = [&](const lib::Criterion& criterion) {
        REQUIRE(compiled.compile(criterion));
        partition.choose(compiled);
        return partition.kind();
    };
    using Values = std::vector<std::uint32_t>;
    const auto values = [&] { return Values(partition.values().begin(), partition.values().end()); };

    CHECK(kind_of(of_host(443, 443)) == kind::dest_port);
    CHECK(values() == Values{443});
    // A block of ports of a shared address: 2,048 of 65,536.
    CHECK(kind_of(of_host(2048, 4095)) == kind::dest_port + 2);
    CHECK(values() == Values{8, 9, 10, 11, 12, 13, 14, 15});
    CHECK(kind_of(of_host(1023, 65535)) == 0);

    lib::Criterion both = of_host(2048, 4095);
    both.source_port = {{80, 80, false}, {82, 83, false}};
    CHECK(kind_of(both) == kind::source_port);
    CHECK(values() == Values{80, 82, 83});

    lib::Criterion tcp = of_host(1023, 65535);
    tcp.protocol = {{6, 6, false}};
    CHECK(kind_of(tcp) == kind::protocol);
    tcp.interfaces = {{2, 100}};
    CHECK(kind_of(tcp) == kind::interface);
    tcp.interfaces = {{2, lib::any_vlan}};
    CHECK(kind_of(tcp) == kind::protocol);
    tcp.protocol = {{6, 6, true}};
    CHECK(kind_of(tcp) == 0);
}

TEST_CASE("a divided key costs memory only while it has parts", "[division]") {
    CountingResource memory;
    {
        CheckedTable table({.max_taps = 200, .memory = &memory});
        REQUIRE(table.quiescence.join(0));
        const std::size_t empty = memory.bytes();
        for (std::uint32_t slot = 0; slot < 200; ++slot) {
            table.add(slot, of_host(static_cast<std::uint16_t>(slot), static_cast<std::uint16_t>(slot)));
        }
        (void)table.commit();
        // The key, and a part for each tap but the first few.
        CHECK(table.table.usage().keys > 190);
        for (std::uint32_t slot = 0; slot < 199; ++slot) {
            table.remove(slot);
        }
        (void)table.commit();
        while (table.table.reclaim()) {
            table.quiescence.quiescent(0);
        }
        CHECK(table.table.usage().keys == 2);  // that of the host, and the last tap's part
        table.remove(199);
        (void)table.commit();
        while (table.table.reclaim()) {
            table.quiescence.quiescent(0);
        }
        CHECK(table.table.usage().keys == 0);
        CHECK(memory.bytes() == empty);
    }
    CHECK(memory.bytes() == 0);
}

TEST_CASE("a part for which there is no memory refuses its tap and leaves no trace", "[division]") {
    CountingResource memory;
    {
        CheckedTable table({.max_taps = 4000, .memory = &memory});
        std::uint32_t next = 0;
        const auto criterion = [&] {
            // Several parts each, and no two taps the same ones.
            const auto port = static_cast<std::uint16_t>(next * 16);
            return of_host(port, static_cast<std::uint16_t>(port + 7));
        };
        std::size_t refused = 0;
        for (std::size_t room = 0; room < 300; ++room) {
            memory.refuse_after(room % 12);
            bool failed = false;
            while (!failed) {
                const auto staged = table.table.stage_add(lib::TapSlot{next}, lib::TapId{next + 1},
                                                          criterion(), Payload{next});
                failed = !staged;
                REQUIRE((staged || staged.error() == StageError::no_memory));
                ++next;
            }
            ++refused;
            memory.refuse_never();
            table.table.rollback();
            table.reclaim_all();
            REQUIRE(table.table.usage().keys == 0);
            next = 0;
        }
        CHECK(refused == 300);
    }
    CHECK(memory.bytes() == 0);
}

TEST_CASE("a table goes with divided keys in it, committed, staged and waiting", "[division]") {
    CountingResource memory;
    {
        CheckedTable table({.max_taps = 300, .memory = &memory});
        REQUIRE(table.quiescence.join(0));
        for (std::uint32_t slot = 0; slot < 300; ++slot) {
            table.add(slot, of_host(static_cast<std::uint16_t>(slot), static_cast<std::uint16_t>(slot)));
            if (slot == 199) {
                (void)table.commit();
                for (std::uint32_t removed = 0; removed < 100; ++removed) {
                    table.remove(removed);
                }
                (void)table.commit();
                (void)table.table.reclaim();
                table.quiescence.quiescent(0);
                (void)table.table.reclaim(50);
            }
        }
    }
    CHECK(memory.bytes() == 0);
}

TEST_CASE("fragments of a host whose taps are divided by port are completed in any order", "[division]") {
    const bool first_comes_first = GENERATE(true, false);
    FragmentBox box;
    for (std::uint32_t slot = 0; slot < 100; ++slot) {
        box.add(slot,
                of_host(static_cast<std::uint16_t>(5000 + slot), static_cast<std::uint16_t>(5000 + slot)));
    }
    const auto piece = [](bool first) {
        Packet packet;
        packet.ipv4({.source = "10.0.0.7",
                     .identification = 77,
                     .more_fragments = first,
                     .fragment_offset = static_cast<std::uint16_t>(first ? 0 : 4),
                     .protocol = 17});
        if (first) {
            packet.udp({.source_port = 9, .dest_port = 5050});
        }
        return packet.payload(24).frame();
    };
    const std::size_t one = box.pass(piece(first_comes_first));
    const std::size_t other = box.pass(piece(!first_comes_first));
    box.settle();
    CHECK(box.copied(one) == std::vector<std::uint32_t>{50});
    CHECK(box.copied(other) == std::vector<std::uint32_t>{50});
}

TEST_CASE("fragments of a host whose taps are divided by protocol or VLAN cost no place", "[division]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 100});
    for (std::uint32_t slot = 0; slot < 100; ++slot) {
        lib::Criterion criterion = of_host(1, 1);
        criterion.dest_port.clear();
        if (slot % 2 == 0) {
            criterion.protocol = {{17, 17, false}};
        } else {
            criterion.interfaces = {{0, static_cast<std::uint16_t>(slot)}};
        }
        REQUIRE(table.stage_add(lib::TapSlot{slot}, lib::TapId{slot + 1}, criterion, Payload{}));
    }
    // Asks for first fragments, but of another protocol.
    lib::Criterion tcp = of_host(1, 65535);
    tcp.protocol = {{6, 6, false}};
    REQUIRE(table.stage_remove(lib::TapSlot{0}, lib::TapId{1}));
    REQUIRE(table.stage_add(lib::TapSlot{0}, lib::TapId{1000}, tcp, Payload{}));
    (void)table.commit();
    const auto decides = [&](std::uint8_t protocol) {
        const Bytes frame = Packet()
                                .ipv4({.source = "10.0.0.7", .fragment_offset = 4, .protocol = protocol})
                                .payload(24)
                                .frame(60);
        const auto size = static_cast<std::uint32_t>(frame.size());
        const Frame view{frame.data(), size, size};
        HeaderBurst burst;
        parse_burst(std::span(&view, 1), burst);
        REQUIRE(burst.fragments == 1);
        return table.first_fragment_decides(burst);
    };
    CHECK(decides(17) == 0);
    CHECK(decides(6) == 1);
}

}  // namespace
}  // namespace flowtap::test
