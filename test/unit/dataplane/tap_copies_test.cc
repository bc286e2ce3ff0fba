// The delivery route of a content destination.
#include "dataplane/tap_copies.h"

#include <catch2/catch.hpp>

namespace {

using flowtap::dataplane::resolve;
using flowtap::dataplane::RouteKind;
namespace lib = flowtap::lib;

lib::TapDestination to(const char* address) {
    const lib::IpAddress parsed = *lib::parse_address(address);
    lib::TapDestination destination;
    destination.family = parsed.family;
    destination.dest_address = parsed.bytes;
    return destination;
}

TEST_CASE("the longest prefix decides, and without one there is no route") {
    const std::vector<lib::RouteConfig> routes{{*lib::parse_prefix("2.2.0.0/16"), 0},
                                               {*lib::parse_prefix("2.2.2.0/27"), 1},
                                               {*lib::parse_prefix("2.2.2.4/32"), std::nullopt},
                                               {*lib::parse_prefix("2001:db8::/32"), 2},
                                               {*lib::parse_prefix("0.0.0.0/8"), 3}};
    CHECK(resolve(to("2.2.2.1"), routes).tunnel == 1);
    CHECK(resolve(to("2.2.2.32"), routes).tunnel == 0);
    CHECK(resolve(to("2.2.2.4"), routes).route == RouteKind::clear);
    CHECK(resolve(to("2001:db8::1"), routes).tunnel == 2);
    CHECK(resolve(to("2001:db8::1"), routes).route == RouteKind::tunnel);
    CHECK(resolve(to("3.3.3.3"), routes).route == RouteKind::none);
    CHECK(resolve(to("::202:203"), routes).route ==
          RouteKind::none);  // no IPv6 route by an IPv4 prefix's bytes
    CHECK(resolve(to("::1"), routes).route == RouteKind::none);
}

}  // namespace
