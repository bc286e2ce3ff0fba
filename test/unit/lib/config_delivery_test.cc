// A delivery port with an interface for the kernel: what it means, and what cannot be right about it.
#include "lib/config.h"
#include "lib/next_hops.h"
#include "test/unit/lib/config_fixture.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <fstream>
#include <string>
#include <string_view>

namespace {

using namespace flowtap::lib;
using namespace flowtap::lib::test;
using Catch::Contains;

struct InterfaceFolder : ConfigFolder {
    std::string text{good_text};

    InterfaceFolder() {
        std::ofstream(folder.path() / "keys" / "ttp-in.sa") << "spi = 1\n";
        change(
            "next-hop-mac = \"02:00:5e:00:00:01\"",
            "interface = \"delivery0\"\ngateways = [\"192.0.2.254\", \"192.0.2.253\", \"2001:db8:d::fe\"]");
        change("\"2001:db8::1/128\"]", "\"2001:db8::1/128\", \"192.0.2.1/24\", \"2001:db8:d::1/64\"]");
        change("sa = \"keys/ttp.sa\"", "sa = \"keys/ttp.sa\"\nsa-in = \"keys/ttp-in.sa\"");
    }

    void change(std::string_view part, std::string_view instead) {
        const std::size_t at = text.find(part);
        REQUIRE(at != std::string::npos);
        text.replace(at, part.size(), instead);
    }
    std::string errors(std::string_view part, std::string_view instead) {
        const std::string whole = text;
        change(part, instead);
        const auto config = load(text);
        text = whole;
        REQUIRE_FALSE(config);
        return all_of(config.error());
    }
};

TEST_CASE_METHOD(InterfaceFolder,
                 "config: an interface for the kernel, its gateways and what comes out of a tunnel",
                 "[config]") {
    const auto config = load(text);
    INFO((config ? "" : all_of(config.error())));
    REQUIRE(config);
    CHECK(config->delivery.interface == "delivery0");
    REQUIRE(config->delivery.addresses.size() == 4);
    CHECK(to_string(config->delivery.addresses[2]) == "192.0.2.1/24");
    CHECK(config->tunnels[0].sas_in == std::vector{folder.path() / "keys/ttp-in.sa"});
    std::string hops;
    for (const IpAddress& hop : next_hop_addresses(*config)) {
        hops += to_string(hop) + " ";
    }
    CHECK(hops == "192.0.2.254 192.0.2.253 2001:db8:d::fe ");
    // A remote end that is on the link is a next hop itself, once.
    change("123.123.123.123", "192.0.2.99");
    CHECK(next_hop_addresses(load(text).value()).size() == 4);
    CHECK(next_hop_addresses(load(good_text).value()).empty());
}

TEST_CASE_METHOD(InterfaceFolder, "config: a name that Linux would not take for an interface", "[config]") {
    for (const std::string_view bad : {"", "a name", "a/b", "a:b", "a%d", "longer-than-15-b"}) {
        CHECK_THAT(errors("\"delivery0\"", fmt::format("\"{}\"", bad)),
                   Contains("a name of 1 to 15 printable ASCII characters"));
    }
}

TEST_CASE_METHOD(InterfaceFolder, "config: what belongs to an interface without one, and the other way round",
                 "[config]") {
    CHECK_THAT(all_of(with("next-hop-mac = \"02:00:5e:00:00:01\"\n", "").error()),
               Contains("[delivery] needs `next-hop-mac`, or `interface` with `gateways`"));
    CHECK_THAT(
        errors("interface = \"delivery0\"\n", "next-hop-mac = \"02:00:5e:00:00:01\"\n"),
        Contains("gateways are found by the kernel: [delivery] needs `interface` for them") &&
            Contains("what comes out of a tunnel goes to the kernel: [delivery] needs `interface` for it"));
    CHECK_THAT(errors("gateways", "next-hop-mac = \"02:00:5e:00:00:01\"\ngateways"),
               Contains("with `interface`, next hops are found by the kernel: `gateways` instead"));
}

TEST_CASE_METHOD(InterfaceFolder, "config: gateways are on the link, no address of this box, and each once",
                 "[config]") {
    CHECK_THAT(errors("\"192.0.2.253\"", "\"192.0.3.253\""),
               Contains("192.0.3.253 is in no subnet of [delivery] addresses"));
    CHECK_THAT(errors("\"192.0.2.253\"", "\"192.0.2.1\""),
               Contains("192.0.2.1 is an address of this box itself"));
    CHECK_THAT(errors("\"192.0.2.253\"", "\"192.0.2.254\""), Contains("192.0.2.254 is in the list already"));
}

TEST_CASE_METHOD(InterfaceFolder, "config: whatever is sent has a next hop of its IP version", "[config]") {
    CHECK_THAT(
        errors("\"192.0.2.254\", \"192.0.2.253\", ", ""),
        Contains(
            "123.123.123.123 is not on the delivery port's link: an IPv4 address in [delivery] gateways"));
    CHECK_THAT(
        errors(", \"2001:db8:d::fe\"", ""),
        Contains("2001:db8:1::/48 is reached in clear: an IPv6 address in [delivery] gateways is needed"));
    CHECK_THAT(
        errors("local = \"100.100.100.100\"", "local = \"100.100.100.101\""),
        Contains("100.100.100.101 is not one of [delivery] addresses: with `interface`, it has to be"));
    CHECK_THAT(errors("prefix = \"2001:db8:1::/48\"", "prefix = \"2001:db8::/32\""),
               Contains("2001:db8::/32 overlaps a subnet of [delivery] addresses"));
}

}  // namespace
