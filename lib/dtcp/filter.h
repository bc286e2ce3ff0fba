// The filter elements of an ADD (dtcp.md section 6), compiled to a Criterion.
#pragma once

#include "lib/criterion.h"
#include "lib/dtcp/message.h"

#include <expected>
#include <string>

namespace flowtap::lib::dtcp {

/// The lists keep their order, and one term an entry: CIDR, half-open ranges and `*` become inclusive ranges.
/// An element that is missing is an empty list. The family is that of the addresses, or X-JTap-IP-Version's,
/// or IPv4. 432 with the line: unreadable or out of range, a reversed range, an empty entry, mixed families,
/// IPv6 in versions 0.5 and 0.6, more than max_terms terms in all lists (counted before anything is
/// allocated), ports with a protocol list that excludes every port protocol, ICMP type or code with one that
/// excludes ICMP (of the family), ports together with ICMP type or code. 501 with the line: an
/// X-JTap-IP-Version that is not ipv4 or ipv6.
std::expected<Criterion, Failure> parse_filter(const Request& request);

/// One line for tests and debugging, never for logs: it names the target.
/// "ipv4 source-address=10.0.0.0-10.0.0.255,!10.0.0.7 protocol=6"
std::string to_string(const Criterion& criterion);

}  // namespace flowtap::lib::dtcp
