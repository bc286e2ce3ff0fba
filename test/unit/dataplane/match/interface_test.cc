// Taps that say where a frame comes in, and taps of whole frames.
#include "test/unit/dataplane/match/table_fixture.h"

namespace flowtap::test {
namespace {

using namespace dataplane::match;

lib::Criterion at(lib::InterfaceList interfaces, bool layer2 = false) {
    lib::Criterion criterion;
    criterion.interfaces = std::move(interfaces);
    criterion.layer2 = layer2;
    return criterion;
}

lib::Criterion with_source(lib::Criterion criterion, std::string_view host) {
    const lib::IpAddress address = lib::parse_address(host).value();
    criterion.family = address.family;
    criterion.source_address = {{address, address, false}};
    return criterion;
}

using Slots = std::vector<std::uint32_t>;

struct Table {
    Quiescence quiescence{1};
    TapTable table{quiescence, {.max_taps = 10'000}};
    std::unique_ptr<HeaderBurst> burst = std::make_unique<HeaderBurst>();
    std::unique_ptr<Matches> matches = std::make_unique<Matches>();

    void add(std::uint32_t slot, const lib::Criterion& criterion) {
        REQUIRE(table.stage_add(lib::TapSlot{slot}, lib::TapId{slot + 1}, criterion, Payload{slot}));
        (void)table.commit();
    }
    void parse(const Bytes& frame, std::uint16_t port) {
        const auto size = static_cast<std::uint32_t>(frame.size());
        const Frame view{frame.data(), size, size};
        parse_burst(std::span(&view, 1), *burst);
        burst->port = port;
    }
    Slots slots() {
        table.classify(*burst, *matches);
        Slots found;
        if (matches->matched != 0) {
            for (const Match& match : matches->frames[0]) {
                found.push_back(static_cast<std::uint32_t>(match.slot));
            }
        }
        std::ranges::sort(found);
        return found;
    }
    Slots slots(const Bytes& frame, std::uint16_t port) {
        parse(frame, port);
        return slots();
    }
};

Packet tagged(std::uint16_t id, std::uint16_t type = 0x8100) {
    return Packet().vlan({.id = id, .tag_type = type, .priority = 5});
}
Bytes untagged() {
    return Packet().ipv4({.source = "10.0.0.7"}).udp().frame(60);
}

TEST_CASE_METHOD(Table, "a tap matches at its interfaces only, with and without an address",
                 "[interface][dtcp:7.input-interface]") {
    add(0, with_source(at({{1, 100}}), "10.0.0.7"));
    add(1, at({{1, 100}}));
    add(2, at({{1, 0}}));
    add(3, at({{1, lib::any_vlan}}));
    add(4, at({{0, 100}, {2, lib::any_vlan}}));
    const Bytes in_100 = tagged(100).ipv4({.source = "10.0.0.7"}).udp().frame(60);
    CHECK(slots(in_100, 1) == Slots{0, 1, 3});
    CHECK(slots(in_100, 0) == Slots{4});
    CHECK(slots(in_100, 2) == Slots{4});
    CHECK(slots(in_100, 3).empty());
    CHECK(slots(untagged(), 1) == Slots{2, 3});
    CHECK(slots(tagged(0).ipv4({.source = "10.0.0.7"}).udp().frame(60), 1) == Slots{2, 3});  // a priority tag
    CHECK(slots(tagged(101).ipv4({.source = "10.0.0.7"}).udp().frame(60), 1) == Slots{3});
    // The outermost tag decides, of either kind.
    CHECK(slots(tagged(100, 0x88a8).vlan({.id = 7}).ipv4().udp().frame(60), 1) == Slots{1, 3});
    CHECK(slots(tagged(7, 0x88a8).vlan({.id = 100}).ipv4().udp().frame(60), 1) == Slots{3});
    // Of the other family there is none.
    CHECK(slots(tagged(100).ipv6().udp().frame(60), 1).empty());
    CHECK(slots(Packet().ipv6().udp().frame(60), 1).empty());
}

TEST_CASE_METHOD(Table, "a tap that names a port, and VLANs of it, is found once", "[interface]") {
    add(0, at({{1, 5}, {1, lib::any_vlan}, {1, 6}, {1, 5}}));
    add(1, at({{1, 5}, {1, 6}, {2, 5}, {1, 5}}));
    CHECK(table.usage().keys == 1 + 3);
    CHECK(slots(tagged(5).ipv4().udp().frame(60), 1) == Slots{0, 1});
    CHECK(slots(tagged(6).ipv4().udp().frame(60), 1) == Slots{0, 1});
    CHECK(slots(tagged(7).ipv4().udp().frame(60), 1) == Slots{0});
    CHECK(slots(tagged(5).ipv4().udp().frame(60), 2) == Slots{1});
}

TEST_CASE_METHOD(Table, "a tap of whole frames matches every frame of its interface, IP or not",
                 "[interface]") {
    add(0, at({{1, 0}}, true));
    add(1, at({{1, 9}}, true));
    add(2, at({{1, lib::any_vlan}}, true));
    add(3, at({{1, 0}, {1, 9}}));
    CHECK(slots(untagged(), 1) == Slots{0, 2, 3});
    CHECK(slots(Packet().ipv6().udp().frame(60), 1) == Slots{0, 2});
    CHECK(slots(Packet().raw(0x0806, Bytes(28, 1)).frame(60), 1) == Slots{0, 2});           // ARP
    CHECK(slots(Packet().ipv4({.version = 5}).udp().frame(60), 1) == Slots{0, 2});          // malformed
    CHECK(slots(Packet().ipv4({.total_length = 1000}).udp().frame(60), 1) == Slots{0, 2});  // truncated
    CHECK(slots(Bytes(14, 1), 1) == Slots{0, 2});
    CHECK(slots(Bytes(5, 1), 1) == Slots{0, 2});  // a runt
    CHECK(slots(tagged(9).raw(0x0806, Bytes(28, 1)).frame(60), 1) == Slots{1, 2});
    CHECK(slots(tagged(9).vlan().vlan().vlan().vlan().ipv4().frame(60), 1) == Slots{1, 2});
    Bytes cut = tagged(9).ipv4().frame(60);
    cut.resize(16);
    CHECK(slots(cut, 1) == Slots{1, 2});  // the tag is there, its type is not
    cut.resize(15);
    CHECK(slots(cut, 1) == Slots{0, 2});
    CHECK(slots(untagged(), 0).empty());
    CHECK(slots(Bytes(5, 1), 0).empty());
}

TEST_CASE_METHOD(Table, "an excluded frame matches no tap of whole frames", "[interface]") {
    add(0, at({{1, 0}}, true));
    add(1, at({{1, 0}}));
    parse(untagged(), 1);
    exclude(*burst, 0);
    CHECK(slots().empty());
}

TEST_CASE_METHOD(Table, "taps on interfaces come and go as others do", "[interface]") {
    for (std::uint32_t slot = 0; slot < 4000; ++slot) {
        add(slot, at({{1, static_cast<std::uint16_t>(slot + 1)}}, slot % 2 == 0));
    }
    CHECK(slots(tagged(17).ipv4().udp().frame(60), 1) == Slots{16});
    CHECK(slots(tagged(18).ipv4().udp().frame(60), 1) == Slots{17});
    CHECK(slots(tagged(18).raw(0x0806, Bytes(28, 1)).frame(60), 1).empty());
    REQUIRE(table.stage_remove(lib::TapSlot{16}, lib::TapId{17}));
    table.rollback();
    CHECK(slots(tagged(17).ipv4().udp().frame(60), 1) == Slots{16});
    REQUIRE(table.stage_add(lib::TapSlot{5000}, lib::TapId{1}, at({{1, 17}}), Payload{}));
    table.rollback();
    CHECK(slots(tagged(17).ipv4().udp().frame(60), 1) == Slots{16});
    for (std::uint32_t slot = 0; slot < 4000; ++slot) {
        REQUIRE(table.stage_remove(lib::TapSlot{slot}, lib::TapId{slot + 1}));
    }
    (void)table.commit();
    CHECK(slots(tagged(17).ipv4().udp().frame(60), 1).empty());
    while (table.reclaim()) {
    }
    CHECK(table.usage().keys == 0);
    CHECK(table.usage().waiting == 0);
    add(0, at({{1, 17}}));
    CHECK(slots(tagged(17).ipv4().udp().frame(60), 1) == Slots{0});
}

TEST_CASE("a port's lists that cannot be had refuse its first tap, and all memory comes back",
          "[interface]") {
    CountingResource memory;
    {
        Quiescence quiescence(1);
        TapTable table(quiescence, {.max_taps = 8, .memory = &memory});
        memory.refuse_after(1);  // the tap's record
        const auto refused = table.stage_add(lib::TapSlot{0}, lib::TapId{1}, at({{1, 5}}), Payload{});
        REQUIRE_FALSE(refused);
        CHECK(refused.error() == StageError::no_memory);
        memory.refuse_never();
        CHECK(table.stage_add(lib::TapSlot{0}, lib::TapId{1}, at({{1, 5}}), Payload{}));
    }
    CHECK(memory.bytes() == 0);
}

TEST_CASE_METHOD(Table, "impossible interfaces and criteria of whole frames are refused", "[interface]") {
    const auto refusal = [&](const lib::Criterion& criterion) {
        const auto staged = table.stage_add(lib::TapSlot{0}, lib::TapId{1}, criterion, Payload{});
        return staged ? std::optional<StageError>() : staged.error();
    };
    CHECK(refusal(at({{32, 1}})) == StageError::bad_criterion);
    CHECK(refusal(at({{0, 4095}})) == StageError::bad_criterion);
    CHECK(refusal(at({}, true)) == StageError::bad_criterion);
    CHECK(refusal(with_source(at({{0, 1}}, true), "10.0.0.7")) == StageError::bad_criterion);
    CHECK(refusal(at(lib::InterfaceList(257, {0, 1}))) == StageError::bad_criterion);
    CHECK_FALSE(refusal(at(lib::InterfaceList(256, {0, 1}))));
}

}  // namespace
}  // namespace flowtap::test
