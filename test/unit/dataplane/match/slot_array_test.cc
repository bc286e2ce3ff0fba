#include "dataplane/match/slot_array.h"

#include "dataplane/match/tap_record.h"
#include "test/unit/dataplane/match/table_fixture.h"

#include <cstdlib>
#include <random>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

TEST_CASE("slots hold what was set last, and cost memory where there are taps", "[slots]") {
    constexpr std::size_t slots = 5 * SlotArray::chunk_slots + 7;
    CountingResource resource;
    {
        Memory memory(resource);
        SlotArray array(memory, slots);
        const std::size_t empty = resource.bytes();
        std::vector<TapRecord> records(50);
        std::map<std::size_t, TapRecord*> model;
        std::mt19937 random(4);
        for (int step = 0; step < 20'000; ++step) {
            const std::size_t slot = random() % (step < 10'000 ? slots : 40);
            if (random() % 3 != 0) {
                TapRecord& record = records[random() % records.size()];
                REQUIRE(array.set(slot, record));
                model[slot] = &record;
            } else if (model.erase(slot) != 0) {
                array.clear(slot);
            }
            REQUIRE(array.at(slot) == (model.contains(slot) ? model[slot] : nullptr));
        }
        std::size_t visited = 0;
        array.for_each([&](TapRecord&) { ++visited; });
        CHECK(visited == model.size());
        std::set<std::size_t> chunks;
        for (const auto& [slot, record] : model) {
            REQUIRE(array.at(slot) == record);
            chunks.insert(slot / SlotArray::chunk_slots);
        }
        CHECK(resource.bytes() >= empty + chunks.size() * SlotArray::chunk_slots * sizeof(TapRecord*));
        for (const auto& [slot, record] : model) {
            array.clear(slot);
        }
        CHECK(resource.bytes() == empty);

        REQUIRE(array.set(3, records[0]));
        resource.refuse_after(0);
        CHECK_FALSE(array.set(slots - 1, records[1]));
        CHECK(array.at(slots - 1) == nullptr);
        CHECK(array.set(3, records[1]));
        CHECK(array.set(4, records[2]));
        CHECK(array.at(3) == &records[1]);
    }
    CHECK(resource.bytes() == 0);
}

TEST_CASE("a table of a million slots costs under 512 bytes a tap from a thousand taps on",
          "[slots][table]") {
    CountingResource resource;
    Quiescence quiescence(1);
    TapTable table(quiescence, {.memory = &resource});
    CHECK(resource.bytes() < 64 * 1024);
    std::size_t most = 0;
    for (std::uint32_t number = 0; number < 70'000; ++number) {
        lib::Criterion criterion;
        lib::IpAddress host;
        host.bytes = {10, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
                      static_cast<std::uint8_t>(number)};
        criterion.source_address = {{host, host, false}};
        REQUIRE(table.stage_add(lib::TapSlot{number}, lib::TapId{number + 1}, criterion, Payload{}));
        if (number % 64 == 63) {
            (void)table.commit();
            (void)table.reclaim();
        }
        if (number >= 1000) {
            most = std::max(most, resource.bytes() / number);
        }
    }
    CHECK(most < 512);
}

lib::IpAddress numbered(lib::Family family, std::uint32_t number) {
    lib::IpAddress address;
    address.family = family;
    address.bytes[0] = family == lib::Family::ipv4 ? 10 : 0x20;
    const std::size_t last = lib::address_size(family) - 1;
    for (std::size_t i = 0; i < 3; ++i) {
        address.bytes[last - i] = static_cast<std::uint8_t>(number >> 8 * i);
    }
    return address;
}

/// What warrants ask for, by turns, of both families: one host, one side of it or both; a network; a range
/// that no one prefix covers; several hosts; and in fours services of one host, whose key is divided.
lib::Criterion mixed(std::uint32_t number) {
    lib::Criterion criterion;
    criterion.family = number / 8 % 3 == 2 ? lib::Family::ipv6 : lib::Family::ipv4;
    const auto term = [&](std::uint32_t first, std::uint32_t last) {
        return lib::AddressTerm{numbered(criterion.family, first), numbered(criterion.family, last), false};
    };
    switch (number % 8) {
        case 0:
            criterion.source_address = {term(number, number)};
            break;
        case 1:
            criterion.either_address = numbered(criterion.family, number);
            break;
        case 2:
            criterion.dest_address = {term(number & ~15U, number | 15)};
            criterion.protocol = {{6, 6}, {17, 17}};
            break;
        case 3:
            criterion.source_address = {term(number, number)};
            criterion.dest_address = {term(number + 1, number + 100)};
            break;
        case 4:
            criterion.dest_address = {term(number, number), term(number + 9, number + 9),
                                      term(number + 70, number + 70)};
            break;
        case 5:
            criterion.dest_address = {term(number + 3, number + 60)};
            break;
        default:
            criterion.source_address = {term(number / 16 * 16, number / 16 * 16)};
            criterion.dest_port = {
                {static_cast<std::uint16_t>(number % 16), static_cast<std::uint16_t>(number % 16)}};
    }
    return criterion;
}

TEST_CASE(
    "taps of every kind cost under 512 bytes each while their number grows, and nothing when they are gone",
    "[slots][table]") {
    const std::uint32_t taps = std::getenv("FLOWTAP_LONG") != nullptr ? 1'048'576 : 70'000;
    CountingResource resource;
    Quiescence quiescence(1);
    TapTable table(quiescence, {.memory = &resource});
    std::size_t most = 0;
    for (std::uint32_t number = 0; number < taps; ++number) {
        REQUIRE(table.stage_add(lib::TapSlot{number}, lib::TapId{number + 1}, mixed(number), Payload{}));
        if (number % 64 == 63) {
            (void)table.commit();
            (void)table.reclaim();
        }
        if (number >= 1000) {
            most = std::max(most, resource.bytes() / number);
        }
    }
    (void)table.commit();
    CHECK(table.usage().taps == taps);
    CHECK(most < 512);
    for (std::uint32_t number = 0; number < taps; ++number) {
        REQUIRE(table.stage_remove(lib::TapSlot{number}, lib::TapId{number + 1}));
    }
    (void)table.commit();
    while (table.reclaim()) {
    }
    CHECK(table.usage().keys == 0);
    CHECK(resource.bytes() < 64 * 1024);
}

}  // namespace
}  // namespace flowtap::test
