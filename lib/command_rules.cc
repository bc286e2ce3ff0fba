#include "lib/command_rules.h"

#include "lib/shims.h"
#include "lib/suite.h"

#include <algorithm>
#include <limits>
#include <span>

namespace flowtap::lib {
namespace {

bool is_zero(std::span<const std::uint8_t> bytes) {
    return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

bool is_family(Family family) {
    return family == Family::ipv4 || family == Family::ipv6;
}

}  // namespace

bool is_address_field(Field field) {
    return field == Field::source_address || field == Field::dest_address || field == Field::either_address;
}

bool is_number_field(Field field) {
    return field >= Field::protocol && field <= Field::icmp_code;
}

std::uint16_t largest_number(Field field) {
    const bool is_port = field == Field::source_port || field == Field::dest_port;
    return is_port ? std::numeric_limits<std::uint16_t>::max() : std::numeric_limits<std::uint8_t>::max();
}

bool valid_address(Family family, const std::array<std::uint8_t, 16>& bytes) {
    return is_family(family) && is_zero(std::span(bytes).subspan(address_size(family)));
}

bool valid_range(Family family, const AddressRange& range) {
    return valid_address(family, range.first) && valid_address(family, range.last) &&
           range.first <= range.last;
}

bool valid_range(Field field, const NumberRange& range) {
    return range.first <= range.last && range.last <= largest_number(field);
}

bool valid_shim(const TapDestination& destination) {
    switch (destination.shim) {
        case Shim::raw:
            return is_zero(destination.shim_bytes);
        case Shim::jmirror:
            return (destination.shim_bytes[0] & 0xc0U) == 0;
        case Shim::nokia_l3:
            return (destination.shim_bytes[0] & 0xe0U) == NokiaShim::form >> 24;
        case Shim::cisco:
        case Shim::flowtap:
            return is_zero(std::span(destination.shim_bytes).subspan(sizeof(std::uint32_t)));
    }
    return false;
}

bool valid_destination(const TapDestination& destination) {
    constexpr std::uint8_t dscp_count = 64;
    return is_family(destination.family) && valid_shim(destination) && destination.ttl != 0 &&
           destination.dscp < dscp_count && destination.dest_port != 0 &&
           valid_address(destination.family, destination.dest_address) &&
           valid_address(destination.family, destination.source_address) &&
           !is_zero(destination.dest_address) && !is_zero(destination.source_address) &&
           is_zero(destination.reserved);
}

bool valid_action(TapAction action, bool layer2) {
    return action == TapAction::copy ||
           (!layer2 && (action == TapAction::redirect || action == TapAction::block));
}

bool valid_interface(const InterfaceRecord& interface) {
    return interface.port < max_ports && (interface.vlan <= 4094 || interface.vlan == any_vlan);
}

bool is_direction(SaDirection direction) {
    return direction == SaDirection::seals || direction == SaDirection::opens;
}

bool valid_sa(const SaInstall& install) {
    return install.spi >= first_spi && install.extended_sequence <= 1 && install.udp_encapsulation <= 1 &&
           is_direction(install.direction) && is_zero(install.reserved);
}

bool valid_key(const SaInstall& install) {
    const SuiteInfo* suite = find_suite(install.suite);
    if (suite == nullptr) {
        return false;
    }
    const std::size_t size = suite->key_material_size();
    return install.key_size == size && is_zero(std::span(install.key).subspan(size));
}

bool valid_lease(const Lease& lease) {
    return lease.count != 0 && lease.count <= std::numeric_limits<std::uint64_t>::max() - lease.first;
}

bool valid_lease(const SaInstall& install) {
    return install.direction == SaDirection::seals ? valid_lease(install.lease)
                                                   : install.lease.first == 0 && install.lease.count == 0;
}

}  // namespace flowtap::lib
