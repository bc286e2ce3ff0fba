// The filter elements of an ADD (dtcp.md section 6), compiled to a Criterion.
#pragma once

#include "lib/criterion.h"
#include "lib/dtcp/message.h"

#include <expected>
#include <span>
#include <string>

namespace flowtap::lib::dtcp {

/// One term an entry, in the order given: CIDR, half-open ranges and `*` become inclusive ranges. An
/// element that is missing is an empty list. So is one that says `*`: where `*` stands among the positive
/// entries, none of them restricts anything and all of them go. (Real clients write `Source-Port: *` beside
/// `Protocol: 1`: it does not name ports.) The family is that of the addresses and X-IP-Addr, or
/// X-JTap-IP-Version's, or IPv4.
///
/// 432 with the line: unreadable or out of range, a reversed range, an empty entry, host bits set in a
/// prefix, mixed families, IPv6 in versions 0.5 and 0.6, more than max_terms entries in all lists (counted
/// before anything is allocated), ports with a protocol list that excludes every port protocol, ICMP type or
/// code with one that excludes ICMP and ICMPv6, ports together with ICMP. 501 with the line: an
/// X-JTap-IP-Version that is not ipv4 or ipv6.
std::expected<Criterion, Failure> parse_filter(const Request& request);

/// The same for filter elements by themselves, as a configuration has them.
std::expected<Criterion, Failure> parse_filter(std::span<const Parameter> elements);

/// One line for tests and debugging, never for logs: it names the target.
/// "ipv4 source-address=10.0.0.0-10.0.0.255,!10.0.0.7 protocol=6"
std::string to_string(const Criterion& criterion);

}  // namespace flowtap::lib::dtcp
