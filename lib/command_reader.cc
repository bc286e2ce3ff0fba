#include "lib/command_reader.h"

#include "lib/command_rules.h"
#include "lib/suite.h"

#include <bit>
#include <cstring>
#include <utility>

namespace flowtap::lib {
namespace {

template <CommandBody Body>
Body read_as(const CommandRecord& record) {
    std::array<std::byte, sizeof(Body)> bytes;
    std::memcpy(bytes.data(), record.bytes.data(), sizeof(Body));
    return std::bit_cast<Body>(bytes);
}

template <std::size_t Size>
bool is_zero(const std::array<std::uint8_t, Size>& bytes) {
    return bytes == std::array<std::uint8_t, Size>{};
}

IpAddress make_address(Family family, const std::array<std::uint8_t, 16>& bytes) {
    return {.family = family, .bytes = bytes};
}

AddressList& address_list(Criterion& criterion, Field field) {
    return field == Field::source_address ? criterion.source_address : criterion.dest_address;
}

NumberList& number_list(Criterion& criterion, Field field) {
    switch (field) {
        case Field::source_port:
            return criterion.source_port;
        case Field::dest_port:
            return criterion.dest_port;
        case Field::icmp_type:
            return criterion.icmp_type;
        case Field::icmp_code:
            return criterion.icmp_code;
        default:
            return criterion.protocol;
    }
}

}  // namespace

CommandReader::CommandReader(const ReaderLimits& limits)
    : max_taps_(limits.max_taps),
      tunnel_count_(limits.tunnel_count),
      // A batch may remove and add every tap and SA, and extend every lease.
      max_changes_(limits.max_changes.value_or(2 * std::size_t{limits.max_taps} + 5 * max_sas + 1)),
      max_parts_(
          limits.max_parts.value_or(16 * std::size_t{limits.max_taps} + max_terms + max_destinations)) {}

std::optional<Batch> CommandReader::take(CommandRecord& record) {
    const auto header = read_as<CommandHeader>(record);
    if (header.kind == CommandKind::commit) {
        if (batch_.refusal == Refusal::none && (header.reserved != 0 || header.slot != 0 || open_)) {
            refuse(Refusal::malformed_record,
                   open_ ? static_cast<std::uint32_t>(open_->tap.slot) : header.slot);
        }
        return end_batch(Token{header.id});
    }
    if (batch_.refusal == Refusal::none) {
        if (const Refusal refusal = stage(record, header); refusal != Refusal::none) {
            refuse(refusal, header.slot);
        }
    }
    if (header.kind == CommandKind::sa_install) {
        OPENSSL_cleanse(record.bytes.data(), record.bytes.size());
    }
    return {};
}

void CommandReader::restart() {
    batch_ = {};
    open_.reset();
    parts_ = 0;
}

void CommandReader::refuse(Refusal refusal, std::uint32_t slot) {
    restart();
    batch_.refusal = refusal;
    batch_.slot = slot;
}

Batch CommandReader::end_batch(Token token) {
    Batch done = std::exchange(batch_, {});
    done.token = token;
    restart();
    return done;
}

Refusal CommandReader::stage(const CommandRecord& record, const CommandHeader& header) {
    if (header.reserved != 0) {
        return Refusal::malformed_record;
    }
    const bool is_part =
        header.kind == CommandKind::tap_addresses || header.kind == CommandKind::tap_numbers ||
        header.kind == CommandKind::tap_destination || header.kind == CommandKind::tap_interfaces;
    if (is_part != open_.has_value()) {
        return Refusal::malformed_record;
    }
    if (is_part && (header.slot != static_cast<std::uint32_t>(open_->tap.slot) ||
                    header.id != static_cast<std::uint64_t>(open_->tap.id))) {
        return Refusal::malformed_record;
    }
    switch (header.kind) {
        case CommandKind::resync_begin:
            return begin_resync(header);
        case CommandKind::tap_begin:
            return begin_tap(record);
        case CommandKind::tap_addresses:
            return add_addresses(record);
        case CommandKind::tap_numbers:
            return add_numbers(record);
        case CommandKind::tap_destination:
            return add_destination(record);
        case CommandKind::tap_interfaces:
            return add_interfaces(record);
        case CommandKind::tap_update:
            return update_tap(record);
        case CommandKind::tap_remove:
            return remove_tap(header);
        case CommandKind::sa_install:
            return install_sa(record);
        case CommandKind::sa_lease:
            return extend_lease(record);
        case CommandKind::sa_remove:
            return remove_sa(header);
        case CommandKind::none:
        case CommandKind::commit:
            break;
    }
    return Refusal::malformed_record;
}

Refusal CommandReader::begin_resync(const CommandHeader& header) {
    if (header.slot != 0 || header.id != 0 || !batch_.changes.empty()) {
        return Refusal::malformed_record;
    }
    return add_change(ResyncBegin{});
}

Refusal CommandReader::begin_tap(const CommandRecord& record) {
    const auto begin = read_as<TapBegin>(record);
    if (begin.header.slot >= max_taps_) {
        return Refusal::unknown_slot;
    }
    const bool known_family = begin.family == Family::ipv4 || begin.family == Family::ipv6;
    const bool whole_frames = begin.layer2 == 1 && begin.term_count == 0 && begin.interface_count != 0;
    if (begin.header.id == 0 || !known_family || !valid_action(begin.action, begin.layer2 != 0) ||
        (begin.layer2 != 0 && !whole_frames) || begin.interface_count > max_interface_terms ||
        begin.destination_count == 0 || begin.destination_count > max_destinations ||
        begin.term_count > max_terms) {
        return Refusal::malformed_record;
    }
    const std::size_t parts = std::size_t{begin.term_count} + begin.destination_count + begin.interface_count;
    if (batch_.changes.size() == max_changes_ || parts > max_parts_ - parts_) {
        return Refusal::no_memory;
    }
    parts_ += parts;
    OpenTap& open = open_.emplace();
    open.tap.slot = TapSlot{begin.header.slot};
    open.tap.id = TapId{begin.header.id};
    open.tap.criterion.family = begin.family;
    open.tap.criterion.layer2 = begin.layer2 != 0;
    open.tap.service = begin.service;
    open.tap.action = begin.action;
    open.terms_left = begin.term_count;
    open.interfaces_left = begin.interface_count;
    open.destinations_left = begin.destination_count;
    return Refusal::none;
}

Refusal CommandReader::add_addresses(const CommandRecord& record) {
    const auto addresses = read_as<TapAddresses>(record);
    const Family family = open_->tap.criterion.family;
    if (!is_address_field(addresses.field) || !is_zero(addresses.reserved) || addresses.count == 0 ||
        addresses.count > TapAddresses::capacity || addresses.count > open_->terms_left ||
        (addresses.negated >> addresses.count) != 0) {
        return Refusal::malformed_record;
    }
    if (addresses.field == Field::either_address) {
        return add_either(addresses);
    }
    AddressList& list = address_list(open_->tap.criterion, addresses.field);
    for (std::size_t i = 0; i < addresses.count; ++i) {
        const AddressRange& range = addresses.terms[i];
        if (!valid_range(family, range)) {
            return Refusal::malformed_record;
        }
        list.push_back({.first = make_address(family, range.first),
                        .last = make_address(family, range.last),
                        .negated = ((addresses.negated >> i) & 1U) != 0});
    }
    open_->terms_left -= addresses.count;
    return close_tap_if_complete();
}

Refusal CommandReader::add_either(const TapAddresses& addresses) {
    Criterion& criterion = open_->tap.criterion;
    const AddressRange& host = addresses.terms[0];
    if (criterion.either_address || addresses.count != 1 || addresses.negated != 0 ||
        !valid_range(criterion.family, host) || host.first != host.last) {
        return Refusal::malformed_record;
    }
    criterion.either_address = make_address(criterion.family, host.first);
    --open_->terms_left;
    return close_tap_if_complete();
}

Refusal CommandReader::add_numbers(const CommandRecord& record) {
    const auto numbers = read_as<TapNumbers>(record);
    if (!is_number_field(numbers.field) || !is_zero(numbers.reserved) || numbers.count == 0 ||
        numbers.count > TapNumbers::capacity || numbers.count > open_->terms_left ||
        (numbers.negated >> numbers.count) != 0) {
        return Refusal::malformed_record;
    }
    NumberList& list = number_list(open_->tap.criterion, numbers.field);
    for (std::size_t i = 0; i < numbers.count; ++i) {
        const NumberRange& range = numbers.terms[i];
        if (!valid_range(numbers.field, range)) {
            return Refusal::malformed_record;
        }
        list.push_back(
            {.first = range.first, .last = range.last, .negated = ((numbers.negated >> i) & 1U) != 0});
    }
    open_->terms_left -= numbers.count;
    return close_tap_if_complete();
}

Refusal CommandReader::add_destination(const CommandRecord& record) {
    const auto destination = read_as<TapDestination>(record);
    if (open_->destinations_left == 0 || !valid_destination(destination)) {
        return Refusal::malformed_record;
    }
    open_->tap.destinations.push_back(destination);
    --open_->destinations_left;
    return close_tap_if_complete();
}

Refusal CommandReader::add_interfaces(const CommandRecord& record) {
    const auto interfaces = read_as<TapInterfaces>(record);
    if (!is_zero(interfaces.reserved) || interfaces.count == 0 ||
        interfaces.count > TapInterfaces::capacity || interfaces.count > open_->interfaces_left) {
        return Refusal::malformed_record;
    }
    for (std::size_t i = 0; i < interfaces.count; ++i) {
        const InterfaceRecord& interface = interfaces.terms[i];
        if (!valid_interface(interface)) {
            return Refusal::malformed_record;
        }
        open_->tap.criterion.interfaces.push_back({.port = interface.port, .vlan = interface.vlan});
    }
    open_->interfaces_left -= interfaces.count;
    return close_tap_if_complete();
}

Refusal CommandReader::close_tap_if_complete() {
    if (open_->terms_left != 0 || open_->interfaces_left != 0 || open_->destinations_left != 0) {
        return Refusal::none;
    }
    const Refusal refusal = add_change(std::move(open_->tap));
    open_.reset();
    return refusal;
}

Refusal CommandReader::remove_tap(const CommandHeader& header) {
    if (header.slot >= max_taps_) {
        return Refusal::unknown_slot;
    }
    if (header.id == 0) {
        return Refusal::malformed_record;
    }
    return add_change(TapRemove{.slot = TapSlot{header.slot}, .id = TapId{header.id}});
}

Refusal CommandReader::update_tap(const CommandRecord& record) {
    const auto update = read_as<TapUpdate>(record);
    if (update.header.slot >= max_taps_) {
        return Refusal::unknown_slot;
    }
    if (update.header.id == 0) {
        return Refusal::malformed_record;
    }
    return add_change(TapUpdated{
        .slot = TapSlot{update.header.slot}, .id = TapId{update.header.id}, .service = update.service});
}

Refusal CommandReader::check_sa(const CommandHeader& header) const {
    if (header.slot >= max_sas) {
        return Refusal::unknown_slot;
    }
    return header.id == 0 ? Refusal::malformed_record : Refusal::none;
}

Refusal CommandReader::install_sa(const CommandRecord& record) {
    auto install = read_as<SaInstall>(record);
    Refusal refusal = check_sa(install.header);
    if (refusal == Refusal::none) {
        if (install.tunnel >= tunnel_count_ || !valid_sa(install)) {
            refusal = Refusal::malformed_record;
        } else if (!valid_key(install)) {
            refusal = Refusal::bad_key;
        } else if (!valid_lease(install)) {
            refusal = Refusal::bad_lease;
        } else {
            refusal = add_change(install);
        }
    }
    OPENSSL_cleanse(install.key.data(), install.key.size());
    return refusal;
}

Refusal CommandReader::extend_lease(const CommandRecord& record) {
    const auto lease = read_as<SaLease>(record);
    if (const Refusal refusal = check_sa(lease.header); refusal != Refusal::none) {
        return refusal;
    }
    return valid_lease(lease.lease) ? add_change(lease) : Refusal::bad_lease;
}

Refusal CommandReader::remove_sa(const CommandHeader& header) {
    if (const Refusal refusal = check_sa(header); refusal != Refusal::none) {
        return refusal;
    }
    return add_change(SaRemove{.slot = SaSlot{header.slot}, .key_id = header.id});
}

template <typename Kind>
Refusal CommandReader::add_change(Kind&& change) {
    if (batch_.changes.size() >= max_changes_) {
        return Refusal::no_memory;
    }
    batch_.changes.emplace_back(std::forward<Kind>(change));
    return Refusal::none;
}

}  // namespace flowtap::lib
