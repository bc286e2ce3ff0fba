// Random changes, and the records of one of every kind, for the tests of commands.
#pragma once

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

namespace flowtap::lib::test {

using Random = std::mt19937_64;
inline constexpr ReaderLimits limits{.max_taps = 100, .tunnel_count = 3, .max_changes = {}, .max_parts = {}};

inline IpAddress random_address(Random& random, Family family) {
    IpAddress address{.family = family, .bytes = {}};
    for (std::size_t i = 0; i < address_size(family); ++i) {
        address.bytes[i] = static_cast<std::uint8_t>(random());
    }
    return address;
}

inline AddressList random_addresses(Random& random, Family family, std::size_t count) {
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

inline NumberList random_numbers(Random& random, std::uint16_t largest, std::size_t count) {
    NumberList list;
    for (std::size_t i = 0; i < count; ++i) {
        const auto number = [&] { return static_cast<std::uint16_t>(random() % (largest + 1U)); };
        const auto [first, last] = std::minmax({number(), number()});
        list.push_back({.first = first, .last = last, .negated = random() % 3 == 0});
    }
    return list;
}

/// Up to `most` terms in all lists.
inline Criterion random_criterion(Random& random, std::size_t most) {
    std::size_t left = random() % (most + 1);
    const auto count = [&] {
        const std::size_t taken = random() % 2 == 0 ? 0 : random() % (left + 1);
        left -= taken;
        return taken;
    };
    Criterion criterion{};
    criterion.family = random() % 2 == 0 ? Family::ipv4 : Family::ipv6;
    if (count() != 0) {
        criterion.either_address = random_address(random, criterion.family);
    }
    criterion.source_address = random_addresses(random, criterion.family, count());
    criterion.dest_address = random_addresses(random, criterion.family, count());
    criterion.protocol = random_numbers(random, 255, count());
    criterion.source_port = random_numbers(random, 65'535, count());
    criterion.dest_port = random_numbers(random, 65'535, count());
    criterion.icmp_type = random_numbers(random, 255, count());
    criterion.icmp_code = random_numbers(random, 255, count());
    return criterion;
}

inline InterfaceList random_interfaces(Random& random, std::size_t count) {
    InterfaceList list(count);
    for (InterfaceTerm& term : list) {
        term.port = static_cast<std::uint16_t>(random() % max_ports);
        term.vlan = random() % 4 == 0 ? any_vlan : static_cast<std::uint16_t>(random() % 4095);
    }
    return list;
}

inline TapService random_service(Random& random) {
    return {.packet_limit = random() % 2 == 0 ? no_limit : random(),
            .byte_limit = random() % 2 == 0 ? no_limit : random(),
            .suppressed = random()};
}

inline TapDestination random_destination(Random& random) {
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
    if (random() % 2 == 0) {
        destination.shim = Shim::jmirror;
        std::ranges::generate(destination.shim_bytes, [&] { return static_cast<std::uint8_t>(random()); });
        destination.shim_bytes[0] &= 0x3f;
    }
    return destination;
}

inline std::vector<TapDestination> random_destinations(Random& random) {
    std::vector<TapDestination> destinations(1 + random() % max_destinations);
    std::ranges::generate(destinations, [&] { return random_destination(random); });
    return destinations;
}

inline SaInstall make_install() {
    SaInstall install;
    install.lease = {.first = 1ULL << 32, .count = 1ULL << 32};
    install.spi = 0x1001;
    install.tunnel = 2;
    install.key_size = 36;
    std::fill_n(install.key.begin(), 36, std::uint8_t{0xa5});
    return install;
}

inline bool same(const TapDestination& left, const TapDestination& right) {
    constexpr std::size_t header = sizeof(CommandHeader);
    return std::memcmp(reinterpret_cast<const char*>(&left) + header,
                       reinterpret_cast<const char*>(&right) + header, sizeof(TapDestination) - header) == 0;
}

/// Feeds all records; returns the batches that they end.
inline std::vector<Batch> feed(CommandReader& reader, std::span<const CommandRecord> records) {
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

}  // namespace flowtap::lib::test
