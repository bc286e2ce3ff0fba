// What control writes is what the dataplane reads; what could not have been written is refused.
#include "lib/command_reader.h"
#include "lib/command_writer.h"
#include "test/unit/lib/command_judge.h"

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
using Random = std::mt19937_64;

constexpr ReaderLimits limits{.max_taps = 100, .tunnel_count = 3, .max_changes = {}, .max_parts = {}};

IpAddress random_address(Random& random, Family family) {
    IpAddress address{.family = family, .bytes = {}};
    for (std::size_t i = 0; i < address_size(family); ++i) {
        address.bytes[i] = static_cast<std::uint8_t>(random());
    }
    return address;
}

AddressList random_addresses(Random& random, Family family, std::size_t count) {
    AddressList list;
    for (std::size_t i = 0; i < count; ++i) {
        const auto [first, last] =
            std::minmax({random_address(random, family), random_address(random, family)});
        list.push_back(
            {.first = first, .last = random() % 2 == 0 ? last : first, .negated = random() % 3 == 0});
        list.back().last = std::max(list.back().first, list.back().last);
    }
    return list;
}

NumberList random_numbers(Random& random, std::uint16_t largest, std::size_t count) {
    NumberList list;
    for (std::size_t i = 0; i < count; ++i) {
        const auto number = [&] { return static_cast<std::uint16_t>(random() % (largest + 1U)); };
        const auto [first, last] = std::minmax({number(), number()});
        list.push_back({.first = first, .last = last, .negated = random() % 3 == 0});
    }
    return list;
}

/// Up to `most` terms in all lists.
Criterion random_criterion(Random& random, std::size_t most) {
    std::size_t left = random() % (most + 1);
    const auto count = [&] {
        const std::size_t taken = random() % 2 == 0 ? 0 : random() % (left + 1);
        left -= taken;
        return taken;
    };
    Criterion criterion{};
    criterion.family = random() % 2 == 0 ? Family::ipv4 : Family::ipv6;
    criterion.source_address = random_addresses(random, criterion.family, count());
    criterion.dest_address = random_addresses(random, criterion.family, count());
    criterion.protocol = random_numbers(random, 255, count());
    criterion.source_port = random_numbers(random, 65'535, count());
    criterion.dest_port = random_numbers(random, 65'535, count());
    criterion.icmp_type = random_numbers(random, 255, count());
    criterion.icmp_code = random_numbers(random, 255, count());
    return criterion;
}

InterfaceList random_interfaces(Random& random, std::size_t count) {
    InterfaceList list(count);
    for (InterfaceTerm& term : list) {
        term.port = static_cast<std::uint16_t>(random() % max_ports);
        term.vlan = random() % 4 == 0 ? any_vlan : static_cast<std::uint16_t>(random() % 4095);
    }
    return list;
}

TapService random_service(Random& random) {
    return {.packet_limit = random() % 2 == 0 ? no_limit : random(),
            .byte_limit = random() % 2 == 0 ? no_limit : random(),
            .suppressed = random()};
}

TapDestination random_destination(Random& random) {
    TapDestination destination;
    destination.family = random() % 2 == 0 ? Family::ipv4 : Family::ipv6;
    destination.ttl = static_cast<std::uint8_t>(1 + random() % 255);
    destination.dscp = static_cast<std::uint8_t>(random() % 64);
    destination.dest_port = static_cast<std::uint16_t>(1 + random() % 65'535);
    destination.source_port = static_cast<std::uint16_t>(random());
    destination.dest_address = random_address(random, destination.family).bytes;
    destination.source_address = random_address(random, destination.family).bytes;
    destination.dest_address[3] |= 1;
    destination.source_address[3] |= 1;
    return destination;
}

std::vector<TapDestination> random_destinations(Random& random) {
    std::vector<TapDestination> destinations(1 + random() % max_destinations);
    std::ranges::generate(destinations, [&] { return random_destination(random); });
    return destinations;
}

SaInstall make_install() {
    SaInstall install;
    install.lease = {.first = 1ULL << 32, .count = 1ULL << 32};
    install.spi = 0x1001;
    install.tunnel = 2;
    install.key_size = 36;
    std::fill_n(install.key.begin(), 36, std::uint8_t{0xa5});
    return install;
}

bool same(const TapDestination& left, const TapDestination& right) {
    constexpr std::size_t header = sizeof(CommandHeader);
    return std::memcmp(reinterpret_cast<const char*>(&left) + header,
                       reinterpret_cast<const char*>(&right) + header, sizeof(TapDestination) - header) == 0;
}

/// Feeds all records; returns the batches that they end.
std::vector<Batch> feed(CommandReader& reader, std::span<const CommandRecord> records) {
    std::vector<Batch> batches;
    for (CommandRecord record : records) {
        if (auto batch = reader.take(record)) {
            batches.push_back(std::move(*batch));
        }
    }
    return batches;
}

template <typename Body>
Body body_of(const CommandRecord& record) {
    Body body;
    std::memcpy(static_cast<void*>(&body), record.bytes.data(), sizeof(body));
    return body;
}

template <typename Body>
void put(CommandRecord& record, const Body& body) {
    std::memcpy(record.bytes.data(), &body, sizeof(body));
}

/// The records of one valid change of every kind, with a commit: what the tests of refusals spoil.
struct Sample {
    CommandBatch batch;
    std::vector<CommandRecord> records;

    Sample() {
        Random random(5);
        Criterion criterion{};
        criterion.source_address = random_addresses(random, Family::ipv4, 7);
        criterion.protocol = {{.first = 6, .last = 17, .negated = false}};
        criterion.interfaces = {{.port = 1, .vlan = 100}};
        batch.resync_begin();
        REQUIRE(batch.add_tap(TapSlot{9}, TapId{77}, criterion, std::vector{random_destination(random)}));
        batch.remove_tap(TapSlot{8}, TapId{76});
        batch.install_sa(SaSlot{4}, 11, make_install());
        batch.extend_lease(SaSlot{4}, 11, {.first = 2ULL << 32, .count = 1ULL << 32});
        batch.remove_sa(SaSlot{5}, 12);
        batch.update_tap(TapSlot{9}, TapId{77}, {.packet_limit = 5, .byte_limit = 6, .suppressed = 7});
        batch.commit(Token{1});
        records.assign(batch.records().begin(), batch.records().end());
    }

    CommandRecord& find(CommandKind kind) {
        return *std::ranges::find_if(records, [kind](const CommandRecord& record) {
            return body_of<CommandHeader>(record).kind == kind;
        });
    }

    /// Changes one record through its struct.
    template <typename Body>
    void spoil(CommandKind kind, const std::function<void(Body&)>& change) {
        CommandRecord& record = find(kind);
        Body body = body_of<Body>(record);
        change(body);
        put(record, body);
    }

    Batch read() {
        CommandReader reader(limits);
        auto batches = feed(reader, records);
        REQUIRE(batches.size() == 1);
        return std::move(batches[0]);
    }
};

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
        REQUIRE(batch.add_tap(slot, id, criterion, destinations, service).has_value());
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
    CHECK_FALSE(batch.add_tap(TapSlot{}, id, criterion, destinations));
    CHECK(batch.records().empty());
}

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
        {"reserved of tap", malformed_record, 9, begin([](auto& b) { b.reserved = 1; })},
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
        {"address field unknown", malformed_record, 9, addresses([](auto& a) { a.field = Field{7}; })},
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
        {"shim", malformed_record, 9, destination([](auto& d) { d.shim = Shim{1}; })},
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
        {"suite", bad_key, 4, install([](auto& i) { i.suite = Suite{1}; })},
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
