// What a command record may say: the rules that its writer keeps and its reader enforces.
#pragma once

#include "lib/address.h"
#include "lib/records.h"

#include <cstdint>

namespace flowtap::lib {

/// An address field takes TapAddresses, the others TapNumbers; a value beyond the enum is neither.
bool is_address_field(Field field);
bool is_number_field(Field field);

/// 255 or 65535; of a number field.
std::uint16_t largest_number(Field field);

/// An address of the family in the records' form: the bytes that the family does not use are zero.
bool valid_address(Family family, const std::array<std::uint8_t, 16>& bytes);

/// Both ends valid, first <= last.
bool valid_range(Family family, const AddressRange& range);

/// first <= last <= largest_number.
bool valid_range(Field field, const NumberRange& range);

/// A known shim with bytes that it can have.
bool valid_shim(const TapDestination& destination);

/// A known family, a valid shim, both addresses valid and specified, a TTL and a destination port that are
/// not 0, a DSCP below 64. The header is not looked at.
bool valid_destination(const TapDestination& destination);

/// A known action; of a tap of whole frames, that it copies.
bool valid_action(TapAction action, bool layer2);

/// A VLAN id of InterfaceTerm, on a port below max_ports.
bool valid_interface(const InterfaceRecord& interface);

/// An SPI that is not reserved, and flags that are flags.
bool valid_sa(const SaInstall& install);

/// A known suite, and a key of exactly its size with nothing after it.
bool valid_key(const SaInstall& install);

/// Not empty, and its end can be counted.
bool valid_lease(const Lease& lease);

bool is_direction(SaDirection direction);

/// As above for what seals; none for what opens.
bool valid_lease(const SaInstall& install);

}  // namespace flowtap::lib
