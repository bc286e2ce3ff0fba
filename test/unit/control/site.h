// The box that the service's tests run on: ports, a wire, routes, content destinations, interfaces, a VRF,
// drop policies.
#pragma once

#include "lib/config.h"

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace flowtap::test {

inline constexpr std::string_view site_text = R"(
[dataplane]
workers = [1]
max-taps = 64

[[port]]
name = "a"
device = "net_null0"
[[port]]
name = "b"
device = "net_null1"
[[port]]
name = "d"
device = "net_null2"

[[wire]]
name = "w"
a = "a"
b = "b"

[delivery]
port = "d"
next-hop-mac = "02:00:00:00:00:01"

[[route]]
prefix = "192.0.2.0/24"
clear = true
[[route]]
prefix = "2001:db8:f::/48"
clear = true

[[destination]]
name = "known"
address = "192.0.2.7"
port = 7007
source-address = "192.0.2.100"
source-port = 7008
soft-limit = 1_000_000
hard-limit = 2_000_000
[[destination]]
name = "theirs"
address = "192.0.2.77"
port = 7007
source-address = "192.0.2.100"
source-port = 7008

[[interface]]
name = "ge-0"
port = "a"
[[interface]]
name = "ge-7.3"
port = "b"
vlan = 700
[[interface]]
name = "trunk"
port = "a"
vlan = "any"
[[vrf]]
name = "red"
interfaces = ["ge-0.100", "b"]

[[drop-policy]]
name = "web"
protocol = "6"
dest-port = "80,443"
[[drop-policy]]
name = "dns"
dest-port = "53"
[[drop-policy]]
name = "v6"
dest-address = "2001:db8::/32"

)";

/// The box with these control sources, and whatever else the text says. Throws on an error in it.
inline lib::Config site_with(std::string_view more) {
    auto parsed = lib::parse_config(std::string{site_text} + std::string{more}, "site");
    if (!parsed) {
        throw std::runtime_error(lib::to_string(parsed.error().front()));
    }
    return std::move(*parsed);
}

}  // namespace flowtap::test
