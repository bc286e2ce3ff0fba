#include "dataplane/match/tap_table.h"

#include "dataplane/match/key_space.h"
#include "test/unit/dataplane/match/table_fixture.h"

namespace flowtap::test {
namespace {

using namespace dataplane::match;

lib::AddressTerm range(std::string_view first, std::string_view last, bool negated = false) {
    return {lib::parse_address(first).value(), lib::parse_address(last).value(), negated};
}

lib::Criterion from_host(std::string_view host) {
    lib::Criterion criterion;
    criterion.source_address = {range(host, host)};
    criterion.family = criterion.source_address[0].first.family;
    return criterion;
}

/// The host of a number, below 10.0.0.0/8.
lib::Criterion from_host(std::uint32_t number) {
    lib::Criterion criterion;
    lib::IpAddress host;
    host.bytes = {10, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
                  static_cast<std::uint8_t>(number)};
    criterion.source_address = {{host, host, false}};
    return criterion;
}

lib::TapSlot slot(std::uint32_t number) {
    return lib::TapSlot{number};
}
lib::TapId id(std::uint64_t number) {
    return lib::TapId{number};
}

/// One worker's view of a table, asked about one frame at a time.
class Asker {
  public:
    explicit Asker(const TapTable& table) : table_(table) {}

    std::vector<std::uint32_t> slots(const Bytes& frame) {
        const auto size = static_cast<std::uint32_t>(frame.size());
        const Frame view{frame.data(), size, size};
        parse_burst(std::span(&view, 1), *burst_);
        table_.classify(*burst_, *matches_);
        std::vector<std::uint32_t> found;
        if (matches_->matched != 0) {
            for (const Match& match : matches_->frames[0]) {
                found.push_back(static_cast<std::uint32_t>(match.slot));
            }
        }
        std::ranges::sort(found);
        return found;
    }
    std::vector<std::uint32_t> slots(std::string_view source, std::string_view dest = "198.51.100.1") {
        return slots(Packet().ipv4({.source = source, .dest = dest}).tcp().frame(60));
    }
    const FrameMatches& matches() const { return matches_->frames[0]; }

  private:
    const TapTable& table_;
    std::unique_ptr<HeaderBurst> burst_ = std::make_unique<HeaderBurst>();
    std::unique_ptr<Matches> matches_ = std::make_unique<Matches>();
};

using Slots = std::vector<std::uint32_t>;

TEST_CASE("a staged tap matches nothing before its commit and everything of its own after it", "[table]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 8});
    Asker ask(table);
    REQUIRE(table.stage_add(slot(3), id(30), from_host("10.0.0.1"), Payload{77}));
    CHECK(ask.slots("10.0.0.1").empty());
    (void)table.commit();
    CHECK(ask.slots("10.0.0.1") == Slots{3});
    CHECK(ask.matches().taps[0].payload == Payload{77});
    CHECK(ask.slots("10.0.0.2").empty());
    CHECK(table.usage().taps == 1);

    REQUIRE(table.stage_remove(slot(3), id(30)));
    CHECK(ask.slots("10.0.0.1") == Slots{3});
    (void)table.commit();
    CHECK(ask.slots("10.0.0.1").empty());
    CHECK(table.usage().taps == 0);
}

TEST_CASE("a slot changes hands within one batch", "[table]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 8});
    Asker ask(table);
    REQUIRE(table.stage_add(slot(1), id(1), from_host("10.0.0.1"), Payload{1}));
    (void)table.commit();
    REQUIRE(table.stage_remove(slot(1), id(1)));
    REQUIRE(table.stage_add(slot(1), id(2), from_host("10.0.0.1"), Payload{2}));
    CHECK(ask.slots("10.0.0.1") == Slots{1});
    CHECK(ask.matches().taps[0].payload == Payload{1});
    (void)table.commit();
    CHECK(ask.slots("10.0.0.1") == Slots{1});
    CHECK(ask.matches().taps[0].payload == Payload{2});
}

TEST_CASE("what cannot be staged is refused by name and changes nothing", "[table]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 4});
    Asker ask(table);
    REQUIRE(table.stage_add(slot(0), id(1), from_host("10.0.0.1"), Payload{}));
    const auto refusal = [](const auto& result) {
        REQUIRE_FALSE(result);
        return result.error();
    };
    CHECK(refusal(table.stage_add(slot(4), id(9), from_host("10.0.0.1"), Payload{})) ==
          StageError::slot_out_of_range);
    CHECK(refusal(table.stage_remove(slot(4), id(9))) == StageError::slot_out_of_range);
    CHECK(refusal(table.stage_add(slot(0), id(2), from_host("10.0.0.1"), Payload{})) ==
          StageError::slot_in_use);
    (void)table.commit();
    CHECK(refusal(table.stage_add(slot(0), id(2), from_host("10.0.0.1"), Payload{})) ==
          StageError::slot_in_use);
    CHECK(refusal(table.stage_remove(slot(0), id(2))) == StageError::unknown_slot);
    CHECK(refusal(table.stage_remove(slot(1), id(1))) == StageError::unknown_slot);
    REQUIRE(table.stage_remove(slot(0), id(1)));
    CHECK(refusal(table.stage_remove(slot(0), id(1))) == StageError::unknown_slot);
    table.rollback();

    lib::Criterion reversed = from_host("10.0.0.9");
    reversed.dest_address = {range("10.0.0.2", "10.0.0.1")};
    lib::Criterion mixed = from_host("10.0.0.9");
    mixed.dest_address = {range("2001:db8::1", "2001:db8::2")};
    lib::Criterion ports = from_host("10.0.0.9");
    ports.dest_port = {{80, 79, false}};
    lib::Criterion many = from_host("10.0.0.9");
    many.dest_port.resize(lib::max_terms);
    lib::Criterion host_of_another_family = from_host("10.0.0.9");
    host_of_another_family.either_address = lib::parse_address("2001:db8::1").value();
    lib::Criterion many_and_host = from_host("10.0.0.9");
    many_and_host.either_address = lib::parse_address("10.0.0.9").value();
    many_and_host.dest_port.resize(lib::max_terms - 1, {1, 1, false});
    for (const lib::Criterion& bad : {reversed, mixed, ports, many, host_of_another_family, many_and_host}) {
        CHECK(refusal(table.stage_add(slot(1), id(2), bad, Payload{})) == StageError::bad_criterion);
    }
    (void)table.commit();
    CHECK(ask.slots("10.0.0.1") == Slots{0});
    CHECK(ask.slots("10.0.0.9").empty());
    CHECK(table.usage().taps == 1);
}

TEST_CASE("a tap of either direction of a host is one tap: each frame once, and all of it goes",
          "[table][dtcp:7.ip-addr]") {
    CountingResource memory;
    {
        Quiescence quiescence(1);
        TapTable table(quiescence, {.max_taps = 4, .memory = &memory});
        Asker ask(table);
        (void)table.commit();
        const std::size_t empty = memory.bytes();
        lib::Criterion criterion;
        criterion.either_address = lib::parse_address("10.0.0.7").value();
        const auto check = [&](const Slots& wanted) {
            CHECK(ask.slots("10.0.0.7", "10.0.0.8") == wanted);
            CHECK(ask.slots("10.0.0.8", "10.0.0.7") == wanted);
            CHECK(ask.slots("10.0.0.7", "10.0.0.7") == wanted);
            CHECK(ask.slots("10.0.0.6", "10.0.0.8").empty());
        };
        REQUIRE(table.stage_add(slot(3), id(1), criterion, Payload{1}));
        check({});
        table.rollback();
        check({});
        REQUIRE(table.stage_add(slot(3), id(2), criterion, Payload{2}));
        (void)table.commit();
        check({3});
        CHECK(table.usage().taps == 1);
        REQUIRE(table.stage_remove(slot(3), id(2)));
        table.rollback();
        check({3});
        REQUIRE(table.stage_remove(slot(3), id(2)));
        (void)table.commit();
        check({});
        while (table.reclaim()) {
        }
        CHECK(table.usage().keys == 0);
        CHECK(memory.bytes() == empty);
    }
    CHECK(memory.bytes() == 0);
}

TEST_CASE("the lists and the host of a tap of either direction hold together", "[table][dtcp:7.ip-addr]") {
    struct Case {
        const char* what;
        lib::AddressList source;
        lib::AddressList dest;
        bool (*wanted)(int from, int to);
    };
    const auto not_host = [](const char* text) {
        lib::AddressTerm term = range(text, text);
        term.negated = true;
        return term;
    };
    const std::vector<Case> cases{
        {"the host is in the source list",
         {range("10.0.0.5", "10.0.0.9"), not_host("10.0.0.8")},
         {},
         [](int from, int) { return from >= 5 && from <= 9 && from != 8; }},
        {"the source list leaves it out",
         {range("10.0.0.1", "10.0.0.3")},
         {},
         [](int from, int) { return from <= 3; }},
        {"both do", {not_host("10.0.0.7")}, {range("10.0.0.4", "10.0.0.4")}, [](int, int) { return false; }},
        {"the destination list has it",
         {},
         {range("10.0.0.4", "10.0.0.255")},
         [](int, int to) { return to >= 4; }},
    };
    for (const Case& one : cases) {
        INFO(one.what);
        Quiescence quiescence(1);
        TapTable table(quiescence, {.max_taps = 4});
        Asker ask(table);
        lib::Criterion criterion;
        criterion.source_address = one.source;
        criterion.dest_address = one.dest;
        criterion.either_address = lib::parse_address("10.0.0.7").value();
        REQUIRE(table.stage_add(slot(1), id(1), criterion, Payload{}));
        (void)table.commit();
        for (int from = 1; from < 12; ++from) {
            for (int to = 1; to < 12; ++to) {
                const bool wanted = (from == 7 || to == 7) && one.wanted(from, to);
                const auto host = [](int number) { return "10.0.0." + std::to_string(number); };
                CHECK(ask.slots(host(from), host(to)) == (wanted ? Slots{1} : Slots{}));
            }
        }
    }
}

TEST_CASE("a criterion of the most terms is exact", "[table]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 4});
    Asker ask(table);
    lib::Criterion criterion;
    for (std::uint32_t i = 0; i < lib::max_terms; ++i) {
        criterion.dest_address.push_back(from_host(2 * i).source_address[0]);
    }
    REQUIRE(table.stage_add(slot(2), id(1), criterion, Payload{}));
    (void)table.commit();
    for (std::uint32_t i = 0; i < 2 * lib::max_terms; ++i) {
        const std::string host = lib::to_string(from_host(i).source_address[0].first);
        CHECK(ask.slots("192.0.2.1", host) == (i % 2 == 0 ? Slots{2} : Slots{}));
    }
}

TEST_CASE("a later fragment matches on addresses and protocol, but no criterion that names ports",
          "[table][dtcp:6.ports-only-there]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 8});
    Asker ask(table);
    lib::Criterion by_protocol = from_host("10.0.0.1");
    by_protocol.protocol = {{17, 17, false}};
    lib::Criterion by_port = from_host("10.0.0.1");
    by_port.dest_port = {{53, 53, false}};
    lib::Criterion by_any_port = from_host("10.0.0.1");
    by_any_port.source_port = {{0, 65535, false}};
    lib::Criterion by_icmp;
    by_icmp.icmp_type = {{8, 8, true}};
    REQUIRE(table.stage_add(slot(0), id(1), from_host("10.0.0.1"), Payload{}));
    REQUIRE(table.stage_add(slot(1), id(2), by_protocol, Payload{}));
    REQUIRE(table.stage_add(slot(2), id(3), by_port, Payload{}));
    REQUIRE(table.stage_add(slot(3), id(4), by_any_port, Payload{}));
    REQUIRE(table.stage_add(slot(4), id(5), by_icmp, Payload{}));
    (void)table.commit();
    const auto frame = [](std::uint16_t offset, bool more) {
        return Packet()
            .ipv4({.source = "10.0.0.1", .more_fragments = more, .fragment_offset = offset})
            .udp({.source_port = 9, .dest_port = 53})
            .frame(60);
    };
    CHECK(ask.slots(frame(0, false)) == Slots{0, 1, 2, 3});
    CHECK(ask.slots(frame(0, true)) == Slots{0, 1, 2, 3});
    CHECK(ask.slots(frame(4, true)) == Slots{0, 1});
    CHECK(ask.slots(Packet().ipv4({.source = "10.0.0.1"}).icmp({.type = 0}).frame(60)) == Slots{0, 4});
    CHECK(ask.slots(Packet().ipv4({.source = "10.0.0.1"}).icmp({.type = 8}).frame(60)) == Slots{0});
    CHECK(ask.slots(Packet().ipv4({.source = "10.0.0.1", .fragment_offset = 4}).icmp().frame(60)) ==
          Slots{0});
}

TEST_CASE("beyond 64 taps on one frame, the others are counted once each, whatever led to them", "[table]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 300});
    Asker ask(table);
    for (std::uint32_t number = 0; number < 200; ++number) {
        lib::Criterion criterion;
        // Both blocks of the range and the host itself lead to the tap.
        criterion.source_address = {range("10.0.0.1", "10.0.0.1")};
        if (number % 2 == 0) {
            criterion.source_address = {range("10.0.0.0", "10.0.0.90"), range("10.0.0.200", "10.0.1.9")};
        }
        if (number % 5 == 0) {
            criterion.source_address.clear();
        }
        REQUIRE(table.stage_add(slot(number), id(number + 1), criterion, Payload{}));
    }
    (void)table.commit();
    CHECK(ask.slots("10.0.0.1").size() == max_matches);
    CHECK(ask.matches().overflow == 200 - max_matches);
    CHECK(ask.slots("10.9.9.9").size() == 40);
    CHECK(ask.matches().overflow == 0);
}

TEST_CASE("a criterion that nothing can match is accepted and matches nothing", "[table]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 8});
    Asker ask(table);
    lib::Criterion empty_set = from_host("10.0.0.1");
    empty_set.source_address.push_back(range("10.0.0.0", "10.0.0.255", true));
    lib::Criterion ports_and_icmp = from_host("10.0.0.1");
    ports_and_icmp.dest_port = {{80, 80, false}};
    ports_and_icmp.icmp_type = {{8, 8, false}};
    lib::Criterion no_such_protocol = from_host("10.0.0.1");
    no_such_protocol.protocol = {{256, 300, false}};
    REQUIRE(table.stage_add(slot(0), id(1), empty_set, Payload{}));
    REQUIRE(table.stage_add(slot(1), id(2), ports_and_icmp, Payload{}));
    REQUIRE(table.stage_add(slot(2), id(3), no_such_protocol, Payload{}));
    (void)table.commit();
    CHECK(ask.slots("10.0.0.1").empty());
    CHECK(table.usage().taps == 3);
    REQUIRE(table.stage_remove(slot(0), id(1)));
    (void)table.commit();
    CHECK(table.usage().taps == 2);
}

TEST_CASE("a rolled-back batch leaves what the last commit left", "[table]") {
    RandomTraffic traffic(4, 3);
    CheckedTable table({.max_taps = 40});
    for (int round = 0; round < 300; ++round) {
        for (std::uint64_t changes = traffic.below(12); changes > 0; --changes) {
            const auto number = static_cast<std::uint32_t>(traffic.below(40));
            if (table.holds(number)) {
                table.remove(number);
            } else {
                table.add(number, traffic.criterion(true));
            }
        }
        if (traffic.chance(60)) {
            table.rollback();
        } else {
            (void)table.commit();
        }
        std::vector<RandomTraffic::Sample> samples(20);
        std::ranges::generate(samples, [&] { return traffic.frame(); });
        (void)table.check(samples);
        (void)table.table.reclaim(traffic.below(20));
    }
}

TEST_CASE("memory that runs out refuses the one tap, and the batch can be rolled back", "[table]") {
    CountingResource memory;
    RandomTraffic traffic(5, 2);
    {
        CheckedTable table({.max_taps = 600, .memory = &memory});
        for (std::uint32_t number = 0; number < 50; ++number) {
            table.add(number, traffic.criterion(true));
        }
        (void)table.commit();
        std::size_t refused = 0;
        std::uint32_t next = 50;
        for (int round = 0; round < 200; ++round) {
            memory.refuse_after(traffic.below(6));
            bool failed = false;
            while (!failed) {
                // Many hosts in few buckets, so that overflow lines are needed too.
                const lib::Criterion criterion =
                    traffic.chance(50) ? traffic.criterion(true) : from_host(next % 2000);
                const auto staged =
                    table.table.stage_add(slot(next % 500 + 50), id(1000 + next), criterion, Payload{next});
                failed = !staged && staged.error() == StageError::no_memory;
                REQUIRE((staged || failed || staged.error() == StageError::slot_in_use));
                ++next;
            }
            ++refused;
            table.rollback();
            memory.refuse_never();
            std::vector<RandomTraffic::Sample> samples(8);
            std::ranges::generate(samples, [&] { return traffic.frame(); });
            (void)table.check(samples);
            (void)table.table.reclaim(traffic.below(100));
        }
        CHECK(refused == 200);
        CHECK(table.table.usage().taps == 50);
    }
    CHECK(memory.bytes() == 0);
}

TEST_CASE("after churn, memory is back where it was", "[table]") {
    CountingResource memory;
    {
        RandomTraffic traffic(6, 40);
        CheckedTable table({.max_taps = 3000, .memory = &memory});
        REQUIRE(table.quiescence.join(0));
        const std::size_t empty = memory.bytes();
        std::size_t full = 0;
        for (int cycle = 0; cycle < 5; ++cycle) {
            for (std::uint32_t number = 0; number < 3000; ++number) {
                table.add(number, traffic.criterion(traffic.chance(1)));
                if (number % 100 == 0) {
                    (void)table.commit();
                    table.quiescence.quiescent(0);
                    (void)table.table.reclaim(50);
                }
            }
            (void)table.commit();
            full = std::max(full, memory.bytes());
            for (std::uint32_t number = 0; number < 3000; ++number) {
                table.remove(number);
                if (number % 100 == 0) {
                    (void)table.commit();
                    table.quiescence.quiescent(0);
                    (void)table.table.reclaim(50);
                }
            }
            (void)table.commit();
            while (table.table.reclaim()) {
                table.quiescence.quiescent(0);
            }
            CHECK(table.table.usage().taps == 0);
            CHECK(table.table.usage().keys == 0);
            CHECK(table.table.usage().waiting == 0);
            CHECK(memory.bytes() == empty);
        }
        CHECK(full > empty + 3000 * 64);
    }
    CHECK(memory.bytes() == 0);
}

TEST_CASE("nothing that a reader may see is freed before it was quiescent", "[table]") {
    CountingResource memory;
    Quiescence quiescence(2);
    TapTable table(quiescence, {.max_taps = 8, .memory = &memory});
    REQUIRE(quiescence.join(0));
    REQUIRE(quiescence.join(1));
    REQUIRE(table.stage_add(slot(7), id(7), from_host("10.0.0.7"), Payload{}));  // the slots' memory stays
    const std::size_t empty = memory.bytes();
    REQUIRE(table.stage_add(slot(0), id(1), from_host("10.0.0.1"), Payload{}));
    (void)table.commit();
    const std::size_t one = memory.bytes();
    REQUIRE(one > empty);
    REQUIRE(table.stage_remove(slot(0), id(1)));
    const Period removal = table.commit();
    CHECK_FALSE(table.live(removal));
    CHECK(table.reclaim());
    quiescence.quiescent(0);
    CHECK_FALSE(table.live(removal));
    CHECK(table.reclaim());
    CHECK(memory.bytes() == one);
    quiescence.quiescent(1);
    CHECK(table.live(removal));
    // Unlinked now; freed when both have been quiescent once more.
    CHECK(table.reclaim());
    CHECK(table.reclaim());
    CHECK(memory.bytes() == one);
    quiescence.quiescent(0);
    CHECK(table.reclaim());
    CHECK(memory.bytes() == one);
    quiescence.leave(1);
    CHECK_FALSE(table.reclaim());
    CHECK(memory.bytes() == empty);
}

TEST_CASE("a table far beyond its intended size is slower, not wrong", "[table]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 3});
    Asker ask(table);
    // Three taps, three thousand keys.
    for (std::uint32_t tap = 0; tap < 3; ++tap) {
        lib::Criterion criterion;
        for (std::uint32_t i = 0; i < 1000; ++i) {
            criterion.source_address.push_back(from_host(tap * 100'000 + 3 * i).source_address[0]);
        }
        REQUIRE(table.stage_add(slot(tap), id(tap + 1), criterion, Payload{}));
    }
    (void)table.commit();
    for (std::uint32_t tap = 0; tap < 3; ++tap) {
        for (std::uint32_t i = 0; i < 3000; ++i) {
            const std::string host = lib::to_string(from_host(tap * 100'000 + i).source_address[0].first);
            REQUIRE(ask.slots(host) == (i % 3 == 0 ? Slots{tap} : Slots{}));
        }
    }
}

TEST_CASE("excluded frames and frames that are no IP are never matched", "[table]") {
    Quiescence quiescence(1);
    TapTable table(quiescence, {.max_taps = 2});
    REQUIRE(table.stage_add(slot(0), id(1), lib::Criterion{}, Payload{}));
    REQUIRE(table.stage_add(slot(1), id(2), from_host("10.0.0.1"), Payload{}));
    (void)table.commit();
    const std::vector<Bytes> frames{
        Packet().ipv4({.source = "10.0.0.1"}).tcp().frame(), Packet().raw(0x0806, Bytes(46, 0)).frame(),
        Packet().ipv4({.source = "10.0.0.1"}).tcp().frame(), Packet().ipv6().tcp().frame(),
        Packet().ipv4({.source = "10.0.0.1", .version = 3}).tcp().frame()};
    std::vector<Frame> views;
    for (const Bytes& frame : frames) {
        const auto size = static_cast<std::uint32_t>(frame.size());
        views.push_back({frame.data(), size, size});
    }
    const auto burst = std::make_unique<HeaderBurst>();
    const auto matches = std::make_unique<Matches>();
    parse_burst(views, *burst);
    exclude(*burst, 2);
    table.classify(*burst, *matches);
    CHECK(matches->matched == 1);
    CHECK(matches->frames[0].count == 2);
    parse_burst({}, *burst);
    table.classify(*burst, *matches);
    CHECK(matches->matched == 0);
}

/// The host that is found as a destination under the hash of this one as a source.
lib::IpAddress mirrored(const lib::IpAddress& host, std::uint64_t seed) {
    const KeySpace space(seed);
    const auto level =
        static_cast<std::size_t>(std::ranges::find(ipv4_levels, 32U) - std::begin(ipv4_levels));
    const std::uint32_t salts = space.salt(place_of(group_of(lib::Family::ipv4, Side::source), level)) ^
                                space.salt(place_of(group_of(lib::Family::ipv4, Side::dest), level));
    lib::IpAddress other = host;
    for (std::size_t i = 0; i < 4; ++i) {
        other.bytes[i] ^= static_cast<std::uint8_t>(salts >> (24 - 8 * i));
    }
    return other;
}

TEST_CASE("A frame whose two addresses share a hash finds a tap once") {
    constexpr std::uint64_t seed = 0x5eed;
    const bool with_ports = GENERATE(false, true);
    CheckedTable checked({.max_taps = 256, .seed = seed});
    const auto host = lib::parse_address("192.0.2.77").value();
    const lib::IpAddress other = mirrored(host, seed);
    // Some tap has to be of a destination, for destinations to be looked up at all.
    lib::Criterion elsewhere;
    elsewhere.dest_address = {range("203.0.113.9", "203.0.113.9")};
    checked.add(0, elsewhere);
    // With ports there are enough taps of the host to divide its key.
    for (std::uint16_t tap = 1; tap <= (with_ports ? 100 : 1); ++tap) {
        lib::Criterion criterion = from_host(lib::to_string(host));
        if (with_ports) {
            criterion.dest_port = {{tap, tap, false}};
        }
        checked.add(tap, criterion);
    }
    checked.commit();
    Asker asker(checked.table);
    const std::string source = lib::to_string(host);
    const std::string dest = lib::to_string(other);
    const Bytes frame = Packet().ipv4({.source = source, .dest = dest}).tcp({.dest_port = 1}).frame(60);
    CHECK(asker.slots(frame) == std::vector<std::uint32_t>{1});
    // The other host does not get the taps of the first one.
    CHECK(
        asker.slots(Packet().ipv4({.source = dest, .dest = source}).tcp({.dest_port = 1}).frame(60)).empty());
}

}  // namespace
}  // namespace flowtap::test
