#include "test/unit/lib/command_judge.h"

#include "lib/command_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace flowtap::test {
namespace {

using lib::Family;

std::string judge(const lib::ResyncBegin&, const lib::ReaderLimits&) {
    return {};
}

bool bad_address(Family family, const std::array<std::uint8_t, 16>& bytes) {
    for (std::size_t i = family == Family::ipv4 ? 4 : 16; i < 16; ++i) {
        if (bytes[i] != 0) {
            return true;
        }
    }
    return false;
}

std::string judge_addresses(const lib::AddressList& list, Family family) {
    for (const lib::AddressTerm& term : list) {
        if (term.first.family != family || term.last.family != family) {
            return "a term's family";
        }
        if (bad_address(family, term.first.bytes) || bad_address(family, term.last.bytes)) {
            return "bytes after an address";
        }
        if (std::memcmp(term.first.bytes.data(), term.last.bytes.data(), 16) > 0) {
            return "a reversed address range";
        }
    }
    return {};
}

std::string judge_numbers(const lib::NumberList& list, unsigned largest) {
    for (const lib::NumberTerm& term : list) {
        if (term.first > term.last || term.last > largest) {
            return "a number range";
        }
    }
    return {};
}

bool bad_shim(const lib::TapDestination& destination) {
    switch (static_cast<unsigned>(destination.shim)) {
        case 0:
            return destination.shim_bytes != std::array<std::uint8_t, 8>{};
        case 1:
            return destination.shim_bytes[0] > 0x3f;
        case 2:
        case 4:
            return !std::ranges::all_of(std::span(destination.shim_bytes).last(4),
                                        [](std::uint8_t byte) { return byte == 0; });
        case 3:
            return destination.shim_bytes[0] < 0x40 || destination.shim_bytes[0] > 0x5f;
        default:
            return true;
    }
}

std::string judge_destination(const lib::TapDestination& destination) {
    const auto family = static_cast<unsigned>(destination.family);
    const std::array<std::uint8_t, 16> none{};
    if ((family != 4 && family != 6) || bad_shim(destination) || destination.ttl == 0 ||
        destination.dscp > 63 || destination.dest_port == 0 || destination.dest_address == none ||
        destination.source_address == none || bad_address(destination.family, destination.dest_address) ||
        bad_address(destination.family, destination.source_address) ||
        destination.reserved != std::array<std::uint8_t, 6>{}) {
        return "a destination";
    }
    return {};
}

std::string judge(const lib::TapAdd& tap, const lib::ReaderLimits& limits) {
    const lib::Criterion& criterion = tap.criterion;
    if (static_cast<std::uint32_t>(tap.slot) >= limits.max_taps || tap.id == lib::TapId{}) {
        return "a tap's slot or id";
    }
    if (criterion.family != Family::ipv4 && criterion.family != Family::ipv6) {
        return "a criterion's family";
    }
    const std::size_t terms = criterion.source_address.size() + criterion.dest_address.size() +
                              criterion.protocol.size() + criterion.source_port.size() +
                              criterion.dest_port.size() + criterion.icmp_type.size() +
                              criterion.icmp_code.size() + (criterion.either_address ? 1 : 0);
    if (criterion.either_address && (criterion.either_address->family != criterion.family ||
                                     bad_address(criterion.family, criterion.either_address->bytes))) {
        return "the host of either direction";
    }
    if (terms > 1024 || tap.destinations.empty() || tap.destinations.size() > 16) {
        return "the number of terms or destinations";
    }
    for (const lib::InterfaceTerm& term : criterion.interfaces) {
        if (term.port >= 32 || (term.vlan > 4094 && term.vlan != 0xffff)) {
            return "an interface";
        }
    }
    const auto action = static_cast<unsigned>(tap.action);
    if (action > 2 || (criterion.layer2 && action != 0)) {
        return "an action";
    }
    if (criterion.interfaces.size() > 256 ||
        (criterion.layer2 && (terms != 0 || criterion.interfaces.empty()))) {
        return "interfaces";
    }
    std::string wrong =
        judge_addresses(criterion.source_address, criterion.family) +
        judge_addresses(criterion.dest_address, criterion.family) + judge_numbers(criterion.protocol, 255) +
        judge_numbers(criterion.source_port, 65'535) + judge_numbers(criterion.dest_port, 65'535) +
        judge_numbers(criterion.icmp_type, 255) + judge_numbers(criterion.icmp_code, 255);
    for (const lib::TapDestination& destination : tap.destinations) {
        wrong += judge_destination(destination);
    }
    return wrong;
}

std::string judge(const lib::TapUpdated& update, const lib::ReaderLimits& limits) {
    const bool good = static_cast<std::uint32_t>(update.slot) < limits.max_taps && update.id != lib::TapId{};
    return good ? "" : "an update";
}

std::string judge(const lib::TapRemove& removal, const lib::ReaderLimits& limits) {
    const bool good =
        static_cast<std::uint32_t>(removal.slot) < limits.max_taps && removal.id != lib::TapId{};
    return good ? "" : "a removal";
}

bool bad_lease(const lib::Lease& lease) {
    return lease.count == 0 || lease.first + lease.count < lease.first;
}

/// By suite: cipher key, salt and authentication key together.
constexpr std::array<unsigned, 12> key_sizes{36, 20, 36, 36, 52, 48, 64, 64, 80, 80, 96, 44};

std::string judge(const lib::SaInstall& install, const lib::ReaderLimits& limits) {
    const bool good = install.header.slot < 64 && install.header.id != 0 &&
                      install.tunnel < limits.tunnel_count && install.spi > 255 &&
                      static_cast<unsigned>(install.suite) < key_sizes.size() &&
                      install.key_size == key_sizes[static_cast<unsigned>(install.suite)] &&
                      install.extended_sequence < 2 && install.udp_encapsulation < 2 &&
                      (install.direction == lib::SaDirection::seals
                           ? !bad_lease(install.lease)
                           : static_cast<unsigned>(install.direction) == 1 && install.lease.first == 0 &&
                                 install.lease.count == 0);
    return good ? "" : "an SA";
}

std::string judge(const lib::SaLease& lease, const lib::ReaderLimits&) {
    return lease.header.slot < 64 && lease.header.id != 0 && !bad_lease(lease.lease) ? "" : "a lease";
}

std::string judge(const lib::SaRemove& removal, const lib::ReaderLimits&) {
    return static_cast<std::uint32_t>(removal.slot) < 64 && removal.key_id != 0 ? "" : "an SA's removal";
}

}  // namespace

std::string judge_batch(const lib::Batch& batch, const lib::ReaderLimits& limits) {
    if (batch.refusal != lib::Refusal::none) {
        return batch.changes.empty() ? "" : "changes of a refused batch";
    }
    std::string wrong;
    for (std::size_t i = 0; i < batch.changes.size(); ++i) {
        const lib::Change& change = batch.changes[i];
        wrong += std::visit([&](const auto& one) { return judge(one, limits); }, change);
        if (i != 0 && std::holds_alternative<lib::ResyncBegin>(change)) {
            wrong += "a resync within a batch";
        }
    }
    return wrong;
}

MutationRun::MutationRun(std::uint64_t seed) : random_(seed) {}

std::vector<lib::CommandRecord> MutationRun::make_valid() {
    lib::CommandBatch batch;
    if (random_() % 4 == 0) {
        batch.resync_begin();
    }
    for (std::uint64_t changes = 1 + random_() % 3; changes > 0; --changes) {
        lib::Criterion criterion{};
        criterion.family = random_() % 2 == 0 ? Family::ipv4 : Family::ipv6;
        for (std::uint64_t terms = random_() % 8; terms > 0; --terms) {
            lib::AddressTerm term{};
            term.first.family = term.last.family = criterion.family;
            term.first.bytes[0] = static_cast<std::uint8_t>(random_() % 100);
            term.last.bytes[0] = static_cast<std::uint8_t>(100 + random_() % 100);
            term.negated = random_() % 2 == 0;
            (random_() % 2 == 0 ? criterion.source_address : criterion.dest_address).push_back(term);
            criterion.dest_port.push_back({.first = 53, .last = 53, .negated = false});
        }
        if (random_() % 2 == 0) {
            criterion.either_address = lib::IpAddress{.family = criterion.family, .bytes = {1, 2, 3, 4}};
        }
        criterion.protocol = {{.first = 6, .last = 17, .negated = false}};
        lib::TapDestination destination;
        destination.dest_port = 9;
        destination.dest_address[0] = destination.source_address[0] = 10;
        const std::vector destinations(1 + random_() % 3, destination);
        const lib::TapSlot slot{static_cast<std::uint32_t>(random_() % 16)};
        static_cast<void>(batch.add_tap(slot, lib::TapId{1 + random_() % 9}, criterion, destinations, {},
                                        lib::TapAction{static_cast<std::uint8_t>(random_() % 3)}));
        if (random_() % 2 == 0) {
            batch.remove_tap(slot, lib::TapId{1});
        }
    }
    lib::SaInstall install;
    install.lease = {.first = 0, .count = 1ULL << 32};
    install.spi = 4097;
    install.key_size = 36;
    install.key[35] = 1;
    batch.install_sa(lib::SaSlot{1}, 7, install);
    install.direction = lib::SaDirection::opens;
    install.lease = {};
    batch.install_sa(lib::SaSlot{1}, 9, install);
    batch.extend_lease(lib::SaSlot{1}, 7, {.first = 1ULL << 32, .count = 1ULL << 32});
    batch.remove_sa(lib::SaSlot{2}, 8);
    batch.commit(lib::Token{random_()});
    return {batch.records().begin(), batch.records().end()};
}

void MutationRun::spoil(std::vector<lib::CommandRecord>& records) {
    const auto pick = [&]() -> std::size_t { return random_() % records.size(); };
    // Where the fields are; most bytes of a record are ignored or zero.
    const auto byte_of = [&](lib::CommandRecord& record) -> std::byte& {
        return record.bytes[random_() % (random_() % 2 == 0 ? 40 : record.bytes.size())];
    };
    switch (random_() % 6) {
        case 0:
            byte_of(records[pick()]) ^= std::byte{1} << static_cast<int>(random_() % 8);
            break;
        case 1:
            byte_of(records[pick()]) = static_cast<std::byte>(random_());
            break;
        case 2: {
            auto& target = records[pick()].bytes;
            const std::uint64_t extreme = random_() % 2 == 0 ? 0 : ~0ULL;
            const std::size_t size = std::size_t{1} << (random_() % 4);
            std::memcpy(target.data() + random_() % (target.size() / size) * size, &extreme, size);
            break;
        }
        case 3:
            records.erase(records.begin() + static_cast<std::ptrdiff_t>(pick()));
            break;
        case 4:
            records.insert(records.begin() + static_cast<std::ptrdiff_t>(pick()), records[pick()]);
            break;
        default:
            std::swap(records[pick()], records[pick()]);
            break;
    }
}

void MutationRun::mutate(std::uint64_t records) {
    const lib::ReaderLimits limits{.max_taps = 16, .tunnel_count = 2, .max_changes = {}, .max_parts = {}};
    lib::CommandReader reader(limits);
    for (std::uint64_t fed = 0; fed < records && complaint_.empty();) {
        auto batch = make_valid();
        for (std::uint64_t times = random_() % 3; times > 0 && batch.size() > 1; --times) {
            spoil(batch);
        }
        for (lib::CommandRecord& record : batch) {
            ++fed;
            const auto done = reader.take(record);
            if (!done) {
                continue;
            }
            (done->refusal == lib::Refusal::none ? applied_ : refused_) += 1;
            if (std::string wrong = judge_batch(*done, limits); !wrong.empty()) {
                complaint_ = fmt::format("after {} records: {}", fed, wrong);
            }
        }
    }
}

}  // namespace flowtap::test
