#include "lib/command_writer.h"

#include "lib/address.h"
#include "lib/command_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace flowtap::lib {
namespace {

struct AddressField {
    Field field;
    const AddressList& terms;
};

struct NumberField {
    Field field;
    const NumberList& terms;
};

std::array<AddressField, 2> address_fields(const Criterion& criterion) {
    return {
        {{Field::source_address, criterion.source_address}, {Field::dest_address, criterion.dest_address}}};
}

std::array<NumberField, 5> number_fields(const Criterion& criterion) {
    return {{{Field::protocol, criterion.protocol},
             {Field::source_port, criterion.source_port},
             {Field::dest_port, criterion.dest_port},
             {Field::icmp_type, criterion.icmp_type},
             {Field::icmp_code, criterion.icmp_code}}};
}

std::unexpected<std::string> refused(std::string_view what) {
    return std::unexpected(std::string(what));
}

std::expected<void, std::string> check_tap(TapId id, const Criterion& criterion,
                                           std::span<const TapDestination> destinations) {
    if (id == TapId{}) {
        return refused("a tap's id is never 0");
    }
    if (destinations.empty() || destinations.size() > max_destinations) {
        return std::unexpected(
            fmt::format("a tap has 1 to {} destinations, not {}", max_destinations, destinations.size()));
    }
    if (const std::size_t terms = term_count(criterion); terms > max_terms) {
        return std::unexpected(fmt::format("a tap has at most {} terms, not {}", max_terms, terms));
    }
    for (const auto& [field, terms] : address_fields(criterion)) {
        for (const AddressTerm& term : terms) {
            if (term.first.family != criterion.family || term.last.family != criterion.family ||
                !valid_range(criterion.family, {term.first.bytes, term.last.bytes})) {
                return refused("an address range is reversed, or not of the criterion's family");
            }
        }
    }
    for (const auto& [field, terms] : number_fields(criterion)) {
        for (const NumberTerm& term : terms) {
            if (!valid_range(field, {term.first, term.last})) {
                return refused("a number range is reversed, or beyond its field");
            }
        }
    }
    if (criterion.either_address && (criterion.either_address->family != criterion.family ||
                                     !valid_address(criterion.family, criterion.either_address->bytes))) {
        return refused("the host of either direction is not of the criterion's family");
    }
    if (criterion.interfaces.size() > max_interface_terms) {
        return std::unexpected(fmt::format("a tap has at most {} interfaces, not {}", max_interface_terms,
                                           criterion.interfaces.size()));
    }
    if (criterion.layer2 && (criterion.interfaces.empty() || term_count(criterion) != 0)) {
        return refused("a tap of whole frames names interfaces and nothing else");
    }
    if (!std::ranges::all_of(criterion.interfaces, [](const InterfaceTerm& term) {
            return valid_interface({.port = term.port, .vlan = term.vlan});
        })) {
        return refused("an interface has an impossible port or VLAN id");
    }
    if (!std::ranges::all_of(destinations, valid_destination)) {
        return refused("a destination lacks an address, a port or a TTL, or has an impossible one");
    }
    return {};
}

}  // namespace

template <CommandBody Body>
void CommandBatch::append(const Body& body) {
    CommandRecord& record = records_.emplace_back();
    std::memcpy(record.bytes.data(), &body, sizeof(body));
}

void CommandBatch::resync_begin() {
    append(CommandHeader{.kind = CommandKind::resync_begin});
}

std::expected<void, std::string> CommandBatch::add_tap(TapSlot slot, TapId id, const Criterion& criterion,
                                                       std::span<const TapDestination> destinations,
                                                       const TapService& service, TapAction action) {
    if (auto checked = check_tap(id, criterion, destinations); !checked) {
        return checked;
    }
    if (!valid_action(action, criterion.layer2)) {
        return refused("a tap copies, redirects or blocks; one of whole frames copies");
    }
    const auto header_of = [&](CommandKind kind) {
        return CommandHeader{
            .kind = kind, .slot = static_cast<std::uint32_t>(slot), .id = static_cast<std::uint64_t>(id)};
    };
    append(TapBegin{.header = header_of(CommandKind::tap_begin),
                    .family = criterion.family,
                    .destination_count = static_cast<std::uint8_t>(destinations.size()),
                    .term_count = static_cast<std::uint16_t>(term_count(criterion)),
                    .interface_count = static_cast<std::uint16_t>(criterion.interfaces.size()),
                    .layer2 = static_cast<std::uint8_t>(criterion.layer2 ? 1 : 0),
                    .action = action,
                    .service = service});
    for (const auto& [field, terms] : address_fields(criterion)) {
        for (std::size_t first = 0; first < terms.size(); first += TapAddresses::capacity) {
            TapAddresses record{.header = header_of(CommandKind::tap_addresses), .field = field};
            const std::size_t count = std::min(terms.size() - first, TapAddresses::capacity);
            record.count = static_cast<std::uint8_t>(count);
            for (std::size_t i = 0; i < count; ++i) {
                const AddressTerm& term = terms[first + i];
                record.terms[i] = {term.first.bytes, term.last.bytes};
                record.negated = static_cast<std::uint8_t>(record.negated | (term.negated ? 1U << i : 0U));
            }
            append(record);
        }
    }
    for (const auto& [field, terms] : number_fields(criterion)) {
        for (std::size_t first = 0; first < terms.size(); first += TapNumbers::capacity) {
            TapNumbers record{.header = header_of(CommandKind::tap_numbers), .field = field};
            const std::size_t count = std::min(terms.size() - first, TapNumbers::capacity);
            record.count = static_cast<std::uint8_t>(count);
            for (std::size_t i = 0; i < count; ++i) {
                const NumberTerm& term = terms[first + i];
                record.terms[i] = {term.first, term.last};
                record.negated |= term.negated ? std::uint64_t{1} << i : 0;
            }
            append(record);
        }
    }
    if (const auto& host = criterion.either_address) {
        TapAddresses record{
            .header = header_of(CommandKind::tap_addresses), .field = Field::either_address, .count = 1};
        record.terms[0] = {host->bytes, host->bytes};
        append(record);
    }
    const InterfaceList& interfaces = criterion.interfaces;
    for (std::size_t first = 0; first < interfaces.size(); first += TapInterfaces::capacity) {
        TapInterfaces record{.header = header_of(CommandKind::tap_interfaces)};
        const std::size_t count = std::min(interfaces.size() - first, TapInterfaces::capacity);
        record.count = static_cast<std::uint8_t>(count);
        for (std::size_t i = 0; i < count; ++i) {
            record.terms[i] = {.port = interfaces[first + i].port, .vlan = interfaces[first + i].vlan};
        }
        append(record);
    }
    for (TapDestination record : destinations) {
        record.header = header_of(CommandKind::tap_destination);
        append(record);
    }
    return {};
}

void CommandBatch::update_tap(TapSlot slot, TapId id, const TapService& service) {
    append(TapUpdate{.header = {.kind = CommandKind::tap_update,
                                .slot = static_cast<std::uint32_t>(slot),
                                .id = static_cast<std::uint64_t>(id)},
                     .service = service});
}

void CommandBatch::remove_tap(TapSlot slot, TapId id) {
    append(CommandHeader{.kind = CommandKind::tap_remove,
                         .slot = static_cast<std::uint32_t>(slot),
                         .id = static_cast<std::uint64_t>(id)});
}

void CommandBatch::install_sa(SaSlot slot, std::uint64_t key_id, const SaInstall& install) {
    append(install);
    const CommandHeader header{
        .kind = CommandKind::sa_install, .slot = static_cast<std::uint32_t>(slot), .id = key_id};
    std::memcpy(records_.back().bytes.data(), &header, sizeof(header));
}

void CommandBatch::extend_lease(SaSlot slot, std::uint64_t key_id, Lease lease) {
    append(SaLease{
        .header = {.kind = CommandKind::sa_lease, .slot = static_cast<std::uint32_t>(slot), .id = key_id},
        .lease = lease});
}

void CommandBatch::remove_sa(SaSlot slot, std::uint64_t key_id) {
    append(CommandHeader{
        .kind = CommandKind::sa_remove, .slot = static_cast<std::uint32_t>(slot), .id = key_id});
}

void CommandBatch::commit(Token token) {
    append(CommandHeader{.kind = CommandKind::commit, .id = static_cast<std::uint64_t>(token)});
}

std::expected<bool, RingError> CommandBatch::drain(CommandProducer& ring) {
    const auto count = ring.push(std::span(records_).subspan(pushed_));
    if (!count) {
        return std::unexpected(count.error());
    }
    pushed_ += *count;
    return drained();
}

void CommandBatch::clear() {
    OPENSSL_cleanse(records_.data(), records_.size() * sizeof(CommandRecord));
    records_.clear();
    pushed_ = 0;
}

}  // namespace flowtap::lib
