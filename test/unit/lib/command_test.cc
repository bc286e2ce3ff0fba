// What control writes is what the dataplane reads; what could not have been written is refused.
#include "test/unit/lib/command_samples.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace {

using namespace flowtap::lib;
using flowtap::test::judge_batch;
using namespace flowtap::lib::test;

}  // namespace

TEST_CASE("command: what is written is what is read, for random taps", "[command]") {
    Random random(1);
    CommandReader reader(limits);
    for (int round = 0; round < 2000; ++round) {
        Criterion criterion = random_criterion(random, round % 20 == 0 ? max_terms : 60);
        if (round % 3 == 0) {
            criterion.interfaces = random_interfaces(random, 1 + random() % max_interface_terms);
            criterion.layer2 = term_count(criterion) == 0;
        }
        const TapService service = round % 2 == 0 ? TapService{} : random_service(random);
        const auto destinations = random_destinations(random);
        const TapSlot slot{static_cast<std::uint32_t>(random() % 100)};
        const TapId id{random() | 1U};
        const Token token{random()};
        CommandBatch batch;
        const TapAction action =
            criterion.layer2 ? TapAction::copy : TapAction{static_cast<std::uint8_t>(random() % 3)};
        REQUIRE(batch.add_tap(slot, id, criterion, destinations, service, action).has_value());
        batch.update_tap(slot, id, service);
        batch.commit(token);

        auto read = feed(reader, batch.records());
        REQUIRE(read.size() == 1);
        REQUIRE(read[0].refusal == Refusal::none);
        REQUIRE(read[0].token == token);
        REQUIRE(read[0].changes.size() == 2);
        REQUIRE(std::holds_alternative<TapAdd>(read[0].changes[0]));
        const auto& tap = std::get<TapAdd>(read[0].changes[0]);
        REQUIRE(tap.slot == slot);
        REQUIRE(tap.id == id);
        REQUIRE(tap.criterion == criterion);
        REQUIRE(tap.service == service);
        REQUIRE(tap.action == action);
        const auto& update = std::get<TapUpdated>(read[0].changes[1]);
        REQUIRE(update.slot == slot);
        REQUIRE(update.id == id);
        REQUIRE(update.service == service);
        REQUIRE(std::ranges::equal(tap.destinations, destinations, same));
    }
}

TEST_CASE("command: every kind of change is read as it was written, in order", "[command]") {
    Sample sample;
    const Batch batch = sample.read();
    REQUIRE(batch.refusal == Refusal::none);
    CHECK(batch.token == Token{1});
    REQUIRE(batch.changes.size() == 7);
    CHECK(std::holds_alternative<ResyncBegin>(batch.changes[0]));
    CHECK(std::get<TapAdd>(batch.changes[1]).criterion.source_address.size() == 7);
    CHECK(std::get<TapRemove>(batch.changes[2]).slot == TapSlot{8});
    CHECK(std::get<TapRemove>(batch.changes[2]).id == TapId{76});
    const auto& install = std::get<SaInstall>(batch.changes[3]);
    CHECK(install.header.slot == 4);
    CHECK(install.header.id == 11);
    CHECK(install.key == make_install().key);
    CHECK(install.spi == 0x1001);
    CHECK(install.lease.first == 1ULL << 32);
    const auto& lease = std::get<SaLease>(batch.changes[4]);
    CHECK(lease.header.id == 11);
    CHECK(lease.lease.first == 2ULL << 32);
    CHECK(std::get<SaRemove>(batch.changes[5]).slot == SaSlot{5});
    CHECK(std::get<SaRemove>(batch.changes[5]).key_id == 12);
    CHECK(std::get<TapUpdated>(batch.changes[6]).service.byte_limit == 6);
    CHECK(judge_batch(batch, limits) == "");
}

TEST_CASE("command: a batch longer than the ring crosses it", "[command]") {
    auto memory = std::make_unique<CommandRing>();
    RingIndex consumed;
    CommandProducer producer(*memory, consumed);
    CommandConsumer consumer(*memory, consumed);
    Random random(2);
    CommandBatch batch;
    for (std::uint32_t slot = 0; slot < 100; ++slot) {
        REQUIRE(batch.add_tap(TapSlot{slot}, TapId{slot + 1}, random_criterion(random, max_terms),
                              random_destinations(random)));
    }
    batch.commit(Token{5});
    REQUIRE(batch.records().size() > command_capacity);
    CHECK_FALSE(batch.drained());

    CommandReader reader({.max_taps = 100, .tunnel_count = 0, .max_changes = {}, .max_parts = 100'000});
    std::vector<Batch> batches;
    CHECK(batch.drain(producer) == false);
    while (batches.empty()) {
        CommandRecord record;
        while (consumer.pop(record).value()) {
            if (auto done = reader.take(record)) {
                batches.push_back(std::move(*done));
            }
        }
        static_cast<void>(batch.drain(producer).value());
    }
    CHECK(batch.drained());
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].refusal == Refusal::none);
    CHECK(batches[0].changes.size() == 100);

    // A peer whose index is impossible shows when the ring's room has to be looked up.
    consumed.value = ~0ULL;
    batch.clear();
    do {
        batch.commit(Token{6});
    } while (batch.drain(producer) == true);
    CHECK(batch.drain(producer) == std::unexpected(RingError::peer_corrupt));
}

TEST_CASE("command: the writer refuses what the reader would, and adds nothing", "[command]") {
    Random random(3);
    CommandBatch batch;
    TapId id{1};
    TapAction action = TapAction::copy;
    Criterion criterion{};
    criterion.source_address = random_addresses(random, Family::ipv4, 2);
    std::vector destinations{random_destination(random)};
    SECTION("nothing wrong") {
        CHECK(batch.add_tap(TapSlot{}, id, criterion, destinations));
        CHECK(batch.records().size() == 3);
        batch.clear();
        CHECK(batch.records().empty());
        return;
    }
    SECTION("an action that there is not") {
        action = TapAction{3};
    }
    SECTION("whole frames that are not sent on") {
        criterion = {};
        criterion.layer2 = true;
        criterion.interfaces = {{.port = 0, .vlan = 0}};
        action = TapAction::block;
    }
    SECTION("no id") {
        id = TapId{};
    }
    SECTION("no destination") {
        destinations.clear();
    }
    SECTION("too many destinations") {
        destinations.resize(max_destinations + 1, destinations[0]);
    }
    SECTION("a destination without port") {
        destinations[0].dest_port = 0;
    }
    SECTION("too many terms") {
        criterion.dest_port.resize(max_terms - 1);
    }
    SECTION("an address of the other family") {
        criterion.source_address[1].last.family = Family::ipv6;
    }
    SECTION("bytes after an IPv4 address") {
        criterion.source_address[1].last.bytes[4] = 1;
    }
    SECTION("a reversed address range") {
        criterion.source_address[0].first.bytes[0] = 9;
        criterion.source_address[0].last.bytes[0] = 8;
    }
    SECTION("a reversed number range") {
        criterion.dest_port = {{.first = 2, .last = 1, .negated = false}};
    }
    SECTION("too many interfaces") {
        criterion.interfaces.resize(max_interface_terms + 1);
    }
    SECTION("a port that cannot be") {
        criterion.interfaces = {{.port = max_ports, .vlan = 1}};
    }
    SECTION("a VLAN id that cannot be") {
        criterion.interfaces = {{.port = 0, .vlan = 4095}};
    }
    SECTION("whole frames of no interface") {
        criterion = {};
        criterion.layer2 = true;
    }
    SECTION("whole frames of a host") {
        criterion.interfaces = {{.port = 0, .vlan = 1}};
        criterion.layer2 = true;
    }
    SECTION("a protocol above 255") {
        criterion.protocol = {{.first = 2, .last = 256, .negated = false}};
    }
    CHECK_FALSE(batch.add_tap(TapSlot{}, id, criterion, destinations, {}, action));
    CHECK(batch.records().empty());
}
