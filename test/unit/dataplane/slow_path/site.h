// A delivery port with a kernel interface, for the tests of this folder: two tunnels, a route in clear, IPv4
// and IPv6.
#pragma once

#include "lib/config.h"

namespace flowtap::test {

inline lib::Config slow_path_site() {
    const auto address = [](std::string_view text) { return *lib::parse_address(text); };
    const auto prefix = [](std::string_view text) { return *lib::parse_prefix(text); };
    lib::Config config;
    config.delivery.interface = "delivery0";
    for (const char* own : {"192.0.2.1/24", "2001:db8:d::1/64", "100.100.100.100/32"}) {
        config.delivery.addresses.push_back(*lib::parse_interface_address(own));
    }
    config.delivery.gateways = {address("192.0.2.254"), address("192.0.2.253"), address("2001:db8:d::fe")};
    // One end behind the gateways, the other on the link itself.
    config.tunnels = {
        {.name = "far", .local = address("100.100.100.100"), .remote = address("123.123.123.123"), .sas = {}},
        {.name = "near", .local = address("192.0.2.1"), .remote = address("192.0.2.99"), .sas = {}}};
    config.routes = {{.prefix = prefix("2.2.2.0/27"), .tunnel = 0},
                     {.prefix = prefix("4.4.4.4/32"), .tunnel = 1},
                     {.prefix = prefix("3.3.3.0/24"), .tunnel = {}},
                     {.prefix = prefix("2001:db8:2::/48"), .tunnel = 0}};
    return config;
}

}  // namespace flowtap::test
