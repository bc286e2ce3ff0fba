// Names of places, drop policies, and what a source may do.
#include "lib/config.h"
#include "lib/interface_name.h"
#include "test/unit/lib/config_fixture.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace flowtap::lib;
using namespace flowtap::lib::test;
using Catch::Contains;

constexpr std::string_view places = R"(
[[interface]]
name = "ge-0"
port = "xe-0/0/0"
[[interface]]
name = "ge-1.7"
port = "xe-0/0/1"
vlan = 700
[[vrf]]
name = "red"
interfaces = ["ge-0.5", "xe-0/0/1", "ge-1.7"]
[[drop-policy]]
name = "web"
protocol = "6"
dest-port = "80,443"
[[drop-policy]]
name = "net"
source-address = "2001:db8::/32"

[ssh])";

TEST_CASE("interfaces: by name and unit, by a name of their own, by a port's name; else there is none",
          "[dtcp:7.unknown-place]") {
    const ConfigFolder folder;
    const auto config = folder.with("[ssh]", places);
    REQUIRE(config);
    const auto place = [&](std::string_view name) { return find_interface(*config, name); };
    CHECK(place("ge-0") == InterfaceTerm{0, 0});
    CHECK(place("ge-0.0") == InterfaceTerm{0, 0});
    CHECK(place("ge-0.4094") == InterfaceTerm{0, 4094});
    CHECK_FALSE(place("ge-0.4095"));
    CHECK(place("ge-1.7") == InterfaceTerm{1, 700});
    CHECK_FALSE(place("ge-1"));
    CHECK_FALSE(place("ge-1.8"));
    CHECK(place("xe-0/0/1.3") == InterfaceTerm{1, 3});
    CHECK_FALSE(place("xe-0/0/2"));  // in no wire
    CHECK_FALSE(place(""));
    CHECK_FALSE(place("."));
    CHECK(other_end(*config, 0) == 1);
    CHECK_FALSE(other_end(*config, 2));
}

TEST_CASE("a drop policy is read as DTCP reads filter elements") {
    const ConfigFolder folder;
    const auto config = folder.with("[ssh]", places);
    REQUIRE(config);
    REQUIRE(config->drop_policies.size() == 2);
    CHECK(config->drop_policies[0].both_families);
    CHECK(config->drop_policies[0].criterion.protocol == NumberList{{6, 6, false}});
    CHECK(config->drop_policies[0].criterion.dest_port == NumberList{{80, 80, false}, {443, 443, false}});
    CHECK_FALSE(config->drop_policies[1].both_families);
    CHECK(config->drop_policies[1].criterion.family == Family::ipv6);
}

TEST_CASE("bad interfaces, VRFs and drop policies are refused where they stand") {
    const ConfigFolder folder;
    const auto refused = [&](std::string_view section) {
        return folder.error("[ssh]", fmt::format("{}\n[ssh]", section));
    };
    CHECK_THAT(refused("[[interface]]\nname = \"ge-1.7\"\nport = \"xe-0/0/1\""),
               Contains("`vlan` is needed"));
    CHECK_THAT(refused("[[interface]]\nname = \"xe-0/0/1\"\nport = \"xe-0/0/1\""),
               Contains("name of a port"));
    CHECK_THAT(refused("[[interface]]\nname = \"x\"\nport = \"xe-0/0/2\""), Contains("in no wire"));
    CHECK_THAT(refused("[[interface]]\nname = \"x\"\nport = \"xe-0/0/1\"\nvlan = 4095"),
               Contains("0 to 4094"));
    CHECK_THAT(refused("[[vrf]]\nname = \"x\"\ninterfaces = [\"xe-0/0/9\"]"), Contains("not an interface"));
    CHECK_THAT(refused("[[drop-policy]]\nname = \"x\""), Contains("one filter element or more"));
    CHECK_THAT(refused("[[drop-policy]]\nname = \"x\"\ndest-port = \"9-3\""), Contains("number or range"));
    CHECK_THAT(refused("[[drop-policy]]\nname = \"x\"\nprotocol = \"1\"\ndest-port = \"9\""),
               Contains("excludes every protocol with ports"));
    CHECK_THAT(refused("[[drop-policy]]\nname = \"x\"\nprotocol = 6"), Contains("filter element in quotes"));
}

TEST_CASE("what a source may do has defaults, and is read") {
    const ConfigFolder folder;
    const auto plain = folder.load(good_text);
    REQUIRE(plain);
    CHECK(plain->sources[0].actions.empty());
    CHECK(plain->sources[0].ssh_sequence == SshSequence::none);
    CHECK(plain->sources[0].requests_per_second == 0);
    const auto config = folder.with("max-criteria = 10", R"(max-criteria = 10
max-destinations = 3
requests-per-second = 50
actions = ["block"]
ssh-sequence = "session")");
    REQUIRE(config);
    CHECK(config->sources[0].max_destinations == 3);
    CHECK(config->sources[0].requests_per_second == 50);
    CHECK(config->sources[0].actions == std::vector{PrivilegedAction::block});
    CHECK(config->sources[0].ssh_sequence == SshSequence::session);
    CHECK_THAT(folder.error("max-criteria = 10", "ssh-sequence = \"strict\""),
               Contains("\"none\" or \"session\""));
    CHECK_THAT(folder.error("max-criteria = 10", "actions = [\"drop\"]"),
               Contains("\"redirect\" or \"block\""));
}

}  // namespace
