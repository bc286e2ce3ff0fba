// What no writer would have written is refused, by its cause.
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

TEST_CASE("command: a bad record refuses its batch, by its cause and slot", "[command]") {
    struct Case {
        const char* name;
        Refusal refusal;
        std::uint32_t slot;
        std::function<void(Sample&)> spoil;
    };
    using enum CommandKind;
    using Refusal::bad_key;
    using Refusal::bad_lease;
    using Refusal::malformed_record;
    using Refusal::unknown_slot;
    const auto header = [](CommandKind kind, void (*change)(CommandHeader&)) {
        return [=](Sample& sample) { sample.spoil<CommandHeader>(kind, change); };
    };
    const auto begin = [](void (*change)(TapBegin&)) {
        return [=](Sample& sample) { sample.spoil<TapBegin>(tap_begin, change); };
    };
    const auto addresses = [](void (*change)(TapAddresses&)) {
        return [=](Sample& sample) { sample.spoil<TapAddresses>(tap_addresses, change); };
    };
    const auto numbers = [](void (*change)(TapNumbers&)) {
        return [=](Sample& sample) { sample.spoil<TapNumbers>(tap_numbers, change); };
    };
    const auto interfaces = [](void (*change)(TapInterfaces&)) {
        return [=](Sample& sample) { sample.spoil<TapInterfaces>(tap_interfaces, change); };
    };
    const auto destination = [](void (*change)(TapDestination&)) {
        return [=](Sample& sample) { sample.spoil<TapDestination>(tap_destination, change); };
    };
    const auto install = [](void (*change)(SaInstall&)) {
        return [=](Sample& sample) { sample.spoil<SaInstall>(sa_install, change); };
    };
    const auto lease = [](void (*change)(SaLease&)) {
        return [=](Sample& sample) { sample.spoil<SaLease>(sa_lease, change); };
    };
    const std::vector<Case> cases{
        {"kind none", malformed_record, 8, header(tap_remove, [](auto& h) { h.kind = CommandKind::none; })},
        {"kind unknown", malformed_record, 8, header(tap_remove, [](auto& h) { h.kind = CommandKind{13}; })},
        {"reserved", malformed_record, 8, header(tap_remove, [](auto& h) { h.reserved = 1; })},
        {"resync with a slot", malformed_record, 1, header(resync_begin, [](auto& h) { h.slot = 1; })},
        {"resync with an id", malformed_record, 0, header(resync_begin, [](auto& h) { h.id = 1; })},
        {"resync not first", malformed_record, 0,
         [](Sample& s) { s.records.insert(s.records.end() - 1, s.find(resync_begin)); }},
        {"slot too large", unknown_slot, 100, begin([](auto& b) { b.header.slot = 100; })},
        {"no tap id", malformed_record, 9, begin([](auto& b) { b.header.id = 0; })},
        {"action", malformed_record, 9, begin([](auto& b) { b.action = TapAction{3}; })},
        {"whole frames that are not sent on", malformed_record, 9, begin([](auto& b) {
             b.layer2 = 1;
             b.term_count = 0;
             b.action = TapAction::redirect;
         })},
        {"family", malformed_record, 9, begin([](auto& b) { b.family = Family{5}; })},
        {"no destinations", malformed_record, 9, begin([](auto& b) { b.destination_count = 0; })},
        {"too many destinations", malformed_record, 9, begin([](auto& b) { b.destination_count = 17; })},
        {"too many terms", malformed_record, 9, begin([](auto& b) { b.term_count = 1025; })},
        {"too many interfaces", malformed_record, 9, begin([](auto& b) { b.interface_count = 257; })},
        {"fewer interfaces than came", malformed_record, 9, begin([](auto& b) { b.interface_count = 0; })},
        {"more interfaces than came", malformed_record, 8, begin([](auto& b) { b.interface_count = 2; })},
        {"whole frames of a host", malformed_record, 9, begin([](auto& b) { b.layer2 = 1; })},
        {"no boolean", malformed_record, 9, begin([](auto& b) { b.layer2 = 2; })},
        {"no interfaces in the record", malformed_record, 9, interfaces([](auto& i) { i.count = 0; })},
        {"too many in the record", malformed_record, 9, interfaces([](auto& i) { i.count = 41; })},
        {"port of an interface", malformed_record, 9, interfaces([](auto& i) { i.terms[0].port = 32; })},
        {"VLAN of an interface", malformed_record, 9, interfaces([](auto& i) { i.terms[0].vlan = 4095; })},
        {"interfaces reserved", malformed_record, 9, interfaces([](auto& i) { i.reserved[6] = 1; })},
        {"update of no slot", unknown_slot, 100, header(tap_update, [](auto& h) { h.slot = 100; })},
        {"update of no id", malformed_record, 9, header(tap_update, [](auto& h) { h.id = 0; })},
        {"fewer terms than came", malformed_record, 9, begin([](auto& b) { b.term_count = 7; })},
        {"more terms than came", malformed_record, 8, begin([](auto& b) { b.term_count = 9; })},
        {"more destinations than came", malformed_record, 8, begin([](auto& b) { b.destination_count = 2; })},
        {"addresses reversed", malformed_record, 9, addresses([](auto& a) {
             a.terms[0].first[0] = 200;
             a.terms[0].last[0] = 199;
         })},
        {"address field is a number's", malformed_record, 9,
         addresses([](auto& a) { a.field = Field::protocol; })},
        {"address field unknown", malformed_record, 9, addresses([](auto& a) { a.field = Field{8}; })},
        {"a host that is a range", malformed_record, 9, addresses([](auto& a) {
             a.field = Field::either_address;
             a.count = 1;
             a.negated = 0;
             a.terms[0].first[3] = 1;
             a.terms[0].last[3] = 2;
         })},
        {"several hosts", malformed_record, 9, addresses([](auto& a) {
             a.field = Field::either_address;
             a.negated = 0;
             a.terms[0].last = a.terms[0].first;
         })},
        {"a negated host", malformed_record, 9, addresses([](auto& a) {
             a.field = Field::either_address;
             a.count = 1;
             a.negated = 1;
             a.terms[0].last = a.terms[0].first;
         })},
        {"no addresses", malformed_record, 9, addresses([](auto& a) { a.count = 0; })},
        {"too many addresses", malformed_record, 9, addresses([](auto& a) { a.count = 6; })},
        {"a million addresses", malformed_record, 9, addresses([](auto& a) { a.count = 255; })},
        {"negated beyond count", malformed_record, 9, addresses([](auto& a) { a.negated = 0x20; })},
        {"address reserved", malformed_record, 9, addresses([](auto& a) { a.reserved[4] = 1; })},
        {"bytes after IPv4", malformed_record, 9, addresses([](auto& a) { a.terms[4].last[15] = 1; })},
        {"another tap's addresses", malformed_record, 7, addresses([](auto& a) { a.header.slot = 7; })},
        {"another id's addresses", malformed_record, 9, addresses([](auto& a) { a.header.id = 78; })},
        {"number field is an address's", malformed_record, 9,
         numbers([](auto& n) { n.field = Field::dest_address; })},
        {"number field unknown", malformed_record, 9, numbers([](auto& n) { n.field = Field{200}; })},
        {"no numbers", malformed_record, 9, numbers([](auto& n) { n.count = 0; })},
        {"too many numbers", malformed_record, 9, numbers([](auto& n) { n.count = 41; })},
        {"numbers negated beyond count", malformed_record, 9, numbers([](auto& n) { n.negated = 2; })},
        {"numbers reserved", malformed_record, 9, numbers([](auto& n) { n.reserved[0] = 1; })},
        {"protocol above 255", malformed_record, 9, numbers([](auto& n) { n.terms[0].last = 256; })},
        {"numbers reversed", malformed_record, 9, numbers([](auto& n) { n.terms[0] = {18, 17}; })},
        {"destination family", malformed_record, 9, destination([](auto& d) { d.family = Family{0}; })},
        {"shim", malformed_record, 9, destination([](auto& d) { d.shim = Shim{5}; })},
        {"too many bytes of Cisco's shim", malformed_record, 9, destination([](auto& d) {
             d.shim = Shim::cisco;
             d.shim_bytes[7] = 1;
         })},
        {"too many bytes of our shim", malformed_record, 9, destination([](auto& d) {
             d.shim = Shim::flowtap;
             d.shim_bytes[4] = 1;
         })},
        {"form of Nokia's shim", malformed_record, 9, destination([](auto& d) {
             d.shim = Shim::nokia_l3;
             d.shim_bytes = {};
         })},
        {"direction in Nokia's shim", malformed_record, 9, destination([](auto& d) {
             d.shim = Shim::nokia_l3;
             d.shim_bytes = {0x60};
         })},
        {"destination reserved", malformed_record, 9, destination([](auto& d) { d.reserved[5] = 1; })},
        {"bytes of no shim", malformed_record, 9, destination([](auto& d) {
             d.shim = Shim::raw;
             d.shim_bytes[7] = 1;
         })},
        {"version of the mirror header", malformed_record, 9, destination([](auto& d) {
             d.shim = Shim::jmirror;
             d.shim_bytes[0] = 0x40;
         })},
        {"ttl", malformed_record, 9, destination([](auto& d) { d.ttl = 0; })},
        {"dscp", malformed_record, 9, destination([](auto& d) { d.dscp = 64; })},
        {"port", malformed_record, 9, destination([](auto& d) { d.dest_port = 0; })},
        {"no address", malformed_record, 9, destination([](auto& d) { d.dest_address = {}; })},
        {"no source", malformed_record, 9, destination([](auto& d) { d.source_address = {}; })},
        {"bytes after destination", malformed_record, 9, destination([](auto& d) {
             d.family = Family::ipv4;
             d.dest_address[4] = 1;
         })},
        {"bytes after source", malformed_record, 9, destination([](auto& d) {
             d.family = Family::ipv4;
             d.dest_address = {1};
             d.source_address[15] = 1;
         })},
        {"one destination more", malformed_record, 9,
         [](Sample& s) { s.records.insert(s.records.begin() + 5, s.find(tap_destination)); }},
        {"destination without a tap", malformed_record, 9,
         [](Sample& s) { s.records.insert(s.records.begin() + 1, s.find(tap_destination)); }},
        {"commit within a tap", malformed_record, 9,
         [](Sample& s) { s.records.erase(s.records.begin() + 5, s.records.end() - 1); }},
        {"tap within a tap", malformed_record, 9,
         [](Sample& s) { s.records.insert(s.records.begin() + 2, s.find(tap_begin)); }},
        {"removal within a tap", malformed_record, 8,
         [](Sample& s) { s.records.insert(s.records.begin() + 3, s.find(tap_remove)); }},
        {"removal of no slot", unknown_slot, 100, header(tap_remove, [](auto& h) { h.slot = 100; })},
        {"removal of no id", malformed_record, 8, header(tap_remove, [](auto& h) { h.id = 0; })},
        {"SA slot", unknown_slot, 64, install([](auto& i) { i.header.slot = 64; })},
        {"SA id", malformed_record, 4, install([](auto& i) { i.header.id = 0; })},
        {"tunnel", malformed_record, 4, install([](auto& i) { i.tunnel = 3; })},
        {"SPI", malformed_record, 4, install([](auto& i) { i.spi = 255; })},
        {"suite", bad_key, 4, install([](auto& i) { i.suite = Suite{12}; })},
        {"suite of another key", bad_key, 4, install([](auto& i) { i.suite = Suite{1}; })},
        {"extended flag", malformed_record, 4, install([](auto& i) { i.extended_sequence = 2; })},
        {"UDP flag", malformed_record, 4, install([](auto& i) { i.udp_encapsulation = 2; })},
        {"reserved of an SA", malformed_record, 4, install([](auto& i) { i.reserved[2] = 1; })},
        {"SA direction", malformed_record, 4, install([](auto& i) { i.direction = SaDirection{2}; })},
        {"lease of an SA that opens", bad_lease, 4,
         install([](auto& i) { i.direction = SaDirection::opens; })},
        {"key too short", bad_key, 4, install([](auto& i) { i.key_size = 35; })},
        {"key too long", bad_key, 4, install([](auto& i) { i.key_size = 200; })},
        {"bytes after the key", bad_key, 4, install([](auto& i) { i.key[36] = 1; })},
        {"empty lease", bad_lease, 4, install([](auto& i) { i.lease.count = 0; })},
        {"endless lease", bad_lease, 4, install([](auto& i) { i.lease = {2, ~0ULL - 1}; })},
        {"lease of SA slot", unknown_slot, 1000, lease([](auto& l) { l.header.slot = 1000; })},
        {"lease without id", malformed_record, 4, lease([](auto& l) { l.header.id = 0; })},
        {"extension by nothing", bad_lease, 4, lease([](auto& l) { l.lease.count = 0; })},
        {"SA removal of no slot", unknown_slot, 64, header(sa_remove, [](auto& h) { h.slot = 64; })},
        {"SA removal of no id", malformed_record, 5, header(sa_remove, [](auto& h) { h.id = 0; })},
        {"commit with a slot", malformed_record, 3, header(commit, [](auto& h) { h.slot = 3; })},
        {"commit reserved", malformed_record, 0, header(commit, [](auto& h) { h.reserved = 3; })},
    };
    for (const Case& one : cases) {
        CAPTURE(one.name);
        Sample sample;
        one.spoil(sample);
        const Batch batch = sample.read();
        CHECK(static_cast<int>(batch.refusal) == static_cast<int>(one.refusal));
        CHECK(batch.slot == one.slot);
        CHECK(batch.token == Token{1});
        CHECK(batch.changes.empty());
    }
}

TEST_CASE("command: the first of several bad records is named, and the next batch begins afresh",
          "[command]") {
    Sample sample;
    sample.spoil<SaInstall>(CommandKind::sa_install, [](SaInstall& install) { install.key_size = 1; });
    sample.spoil<CommandHeader>(CommandKind::sa_remove, [](CommandHeader& header) { header.slot = 99; });
    CommandReader reader(limits);
    auto batches = feed(reader, sample.records);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].refusal == Refusal::bad_key);
    CHECK(batches[0].slot == 4);

    const Sample good;
    batches = feed(reader, good.records);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].refusal == Refusal::none);
    CHECK(batches[0].slot == 0);
    CHECK(batches[0].changes.size() == 7);
}

TEST_CASE("command: restart() forgets half a batch, and half a tap", "[command]") {
    const Sample sample;
    CommandReader reader(limits);
    CHECK(feed(reader, std::span(sample.records).first(3)).empty());
    reader.restart();
    const auto batches = feed(reader, sample.records);
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].refusal == Refusal::none);
    CHECK(batches[0].changes.size() == 7);
}

TEST_CASE("command: an empty commit is an empty batch", "[command]") {
    CommandBatch batch;
    batch.commit(Token{~0ULL});
    CommandReader reader(limits);
    const auto batches = feed(reader, batch.records());
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].token == Token{~0ULL});
    CHECK(batches[0].refusal == Refusal::none);
    CHECK(batches[0].changes.empty());
}

TEST_CASE("command: no batch holds more than the limits", "[command]") {
    Random random(4);
    CommandBatch batch;
    SECTION("of changes") {
        for (int i = 0; i < 4; ++i) {
            batch.remove_tap(TapSlot{1}, TapId{1});
        }
    }
    SECTION("of changes, the last of them a tap") {
        for (int i = 0; i < 3; ++i) {
            batch.remove_tap(TapSlot{2}, TapId{1});
        }
        REQUIRE(batch.add_tap(TapSlot{1}, TapId{1}, {}, std::vector{random_destination(random)}));
    }
    SECTION("of terms and destinations") {
        Criterion criterion{};
        criterion.protocol = random_numbers(random, 255, 10);
        REQUIRE(batch.add_tap(TapSlot{1}, TapId{1}, criterion, std::vector{random_destination(random)}));
    }
    batch.commit(Token{1});
    CommandReader reader({.max_taps = 4, .tunnel_count = 0, .max_changes = 3, .max_parts = 10});
    const auto batches = feed(reader, batch.records());
    REQUIRE(batches.size() == 1);
    CHECK(batches[0].refusal == Refusal::no_memory);
    CHECK(batches[0].slot == 1);

    // Limits are of a batch, not of a life.
    batch.clear();
    Criterion criterion{};
    criterion.protocol = random_numbers(random, 255, 9);
    REQUIRE(batch.add_tap(TapSlot{1}, TapId{1}, criterion, std::vector{random_destination(random)}));
    batch.commit(Token{2});
    for (int i = 0; i < 3; ++i) {
        CHECK(feed(reader, batch.records()).at(0).refusal == Refusal::none);
    }
}

TEST_CASE("command: a full resync fits the limits that are the default", "[command]") {
    Random random(6);
    CommandBatch batch;
    batch.resync_begin();
    for (std::uint32_t slot = 0; slot < limits.max_taps; ++slot) {
        Criterion criterion{};
        criterion.protocol = random_numbers(random, 255, 14);
        REQUIRE(batch.add_tap(TapSlot{slot}, TapId{slot + 1U}, criterion,
                              std::vector(2, random_destination(random))));
    }
    batch.commit(Token{1});
    CommandReader reader(limits);
    CHECK(feed(reader, batch.records()).at(0).changes.size() == limits.max_taps + 1);
}

TEST_CASE("command: a key is wiped where it passed", "[command]") {
    CommandBatch batch;
    batch.install_sa(SaSlot{1}, 1, make_install());
    CommandRecord record = batch.records()[0];
    CommandReader reader(limits);
    SECTION("a good record") {
        CHECK_FALSE(reader.take(record));
    }
    SECTION("a bad one") {
        record.bytes[0x20] = std::byte{0};
        record.bytes[0x21] = std::byte{0};
        CHECK_FALSE(reader.take(record));
    }
    SECTION("one after a bad one") {
        CommandRecord bad;
        CHECK_FALSE(reader.take(bad));
        CHECK_FALSE(reader.take(record));
    }
    CHECK(record.bytes == CommandRecord{}.bytes);
}

TEST_CASE("command: mutated records never become an invalid change", "[command]") {
    flowtap::test::MutationRun run(17);
    run.mutate(200'000);
    CHECK(run.complaint() == "");
    // Both outcomes have to be common, or the run would prove little.
    CHECK(run.applied() > 1000);
    CHECK(run.refused() > 1000);
}

// The long form: unit-lib "command: ten million mutated records"
TEST_CASE("command: ten million mutated records never become an invalid change", "[.][command]") {
    flowtap::test::MutationRun run(18);
    run.mutate(10'000'000);
    CHECK(run.complaint() == "");
    WARN(run.applied() << " batches applied, " << run.refused() << " refused");
}
