// ADD as a typed value (dtcp.md sections 5 to 7). Owns its strings: nothing points into the message.
#pragma once

#include "lib/address.h"
#include "lib/criterion.h"
#include "lib/dtcp/message.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace flowtap::lib::dtcp {

inline constexpr std::size_t max_cdests = 16;
inline constexpr std::size_t max_interfaces = 8;
inline constexpr std::uint32_t max_timeout_seconds = 86'400;

/// One entry of Cdest-ID with its entry of each X-JTap-Cdest-* list; unset: not given, so that what the
/// configuration says of the id applies, and 901 where it says nothing. Ports in host byte order.
struct Cdest {
    std::string id;
    std::optional<IpAddress> dest_address = std::nullopt;
    std::optional<std::uint16_t> dest_port = std::nullopt;
    /// Of dest_address's family where both are given.
    std::optional<IpAddress> source_address = std::nullopt;
    std::optional<std::uint16_t> source_port = std::nullopt;
    std::optional<std::uint8_t> ttl = std::nullopt;  ///< 1..255

    bool operator==(const Cdest&) const = default;
};

/// Unset: not given. Zero is as good as not given in an ADD.
struct Timeouts {
    std::optional<std::uint32_t> idle = std::nullopt;   ///< seconds, at most max_timeout_seconds
    std::optional<std::uint32_t> total = std::nullopt;  ///< seconds, at most max_timeout_seconds
    std::optional<std::uint64_t> packets = std::nullopt;
    std::optional<std::uint64_t> bytes = std::nullopt;

    bool operator==(const Timeouts&) const = default;
};

enum class Action : std::uint8_t { copy, redirect, block };

struct InterfaceName {
    std::string port;        ///< the name before ".UNIT"
    std::uint16_t unit = 0;  ///< VLAN id, 0..4094

    bool operator==(const InterfaceName&) const = default;
};

enum class InterfaceDirection : std::uint8_t { any, input, output };

/// X-MD-Intercept-Id for the mirror header (delivery.md): up to 16 hex digits beyond leading zeros.
struct InterceptId {
    std::uint64_t value = 0;
    bool short_form = false;  ///< written with at most 8 digits: 4 bytes

    bool operator==(const InterceptId&) const = default;
};

struct AddRequest {
    std::vector<Cdest> cdests;  ///< 1..max_cdests, no id twice
    std::string cdest_ids;      ///< the list as given, for LIST
    Criterion criterion;
    bool is_static = false;
    bool send_async = false;
    Timeouts timeouts;  ///< all unset when static
    std::uint8_t priority = 1;
    Action action = Action::copy;  ///< a source that may not use it is answered 501 with action_line
    std::string action_line;       ///< as it came; empty: not given

    std::optional<std::string> vrf = std::nullopt;
    InterfaceDirection interface_direction = InterfaceDirection::any;
    std::vector<InterfaceName> interfaces;  ///< at most max_interfaces; empty: any
    std::string place_line;  ///< the VRF or interface line, for a 901 about a name that is not configured
    bool layer2 = false;     ///< X-JTap-Filter-Family: ccc: whole frames of the named interfaces

    std::optional<InterceptId> intercept_id = std::nullopt;
    std::optional<std::string> subscriber_interface = std::nullopt;  ///< X-Interface-Id
    std::optional<IpAddress> subscriber_address = std::nullopt;      ///< X-IP-Addr: both directions of it

    /// What a LIST repeats as given: whole lines ("NAME: value" CRLF) with our spelling of the names, in the
    /// order of dtcp.md section 8. The timeouts, which a REFRESH changes, come between the two.
    std::string given_filter;  ///< the filter elements
    std::string given;         ///< priority, action, flags and X- parameters
};

/// failure() of the request, where there is one; 400, 432, 433, 501, 551 or 901 with the offending line. A
/// Cdest-ID that is missing is 400. Whether names are configured and addresses allowed is the service's
/// question.
std::expected<AddRequest, Failure> parse_add(const Request& request);

}  // namespace flowtap::lib::dtcp
