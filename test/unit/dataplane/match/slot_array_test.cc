#include "dataplane/match/slot_array.h"

#include "dataplane/match/tap_record.h"
#include "test/unit/dataplane/match/table_fixture.h"

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

}  // namespace
}  // namespace flowtap::test
