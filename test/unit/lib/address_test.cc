#include "lib/address.h"

#include <catch2/catch.hpp>

#include <string>

namespace flowtap::lib {
namespace {

IpAddress address(const char* text) {
    const auto parsed = parse_address(text);
    REQUIRE(parsed.has_value());
    return *parsed;
}

Prefix prefix(const char* text) {
    const auto parsed = parse_prefix(text);
    REQUIRE(parsed.has_value());
    return *parsed;
}

TEST_CASE("an address is read in network byte order and written in its canonical form") {
    CHECK(address("192.0.2.1").bytes == std::array<std::uint8_t, 16>{192, 0, 2, 1});
    CHECK(address("2001:db8::1").bytes ==
          std::array<std::uint8_t, 16>{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
    CHECK(to_string(address("2001:0DB8:0:0:0:0:0:1")) == "2001:db8::1");
    CHECK(to_string(address("255.255.255.255")) == "255.255.255.255");
}

TEST_CASE("an address with anything odd in it is refused") {
    for (const char* text : {"", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4.5", "1:2",
                             ":::", "2001:db8::1%eth0", "0x1.2.3.4", "2001:db8:0:0:0:0:0:0:0:1"}) {
        INFO(text);
        CHECK_FALSE(parse_address(text).has_value());
    }
    CHECK_FALSE(parse_address(std::string_view("1.2.3.4\0005", 9)).has_value());
}

TEST_CASE("a prefix has no host bits, and the error names the prefix that was meant") {
    CHECK(prefix("10.0.0.0/8").length == 8);
    CHECK(prefix("192.0.2.1").length == 32);
    CHECK(prefix("2001:db8::").length == 128);
    CHECK(prefix("0.0.0.0/0").length == 0);
    const auto wrong = parse_prefix("10.1.2.3/20");
    REQUIRE_FALSE(wrong.has_value());
    CHECK(wrong.error().find("10.1.0.0/20") != std::string::npos);
    for (const char* text :
         {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "/8", "2001:db8::/129"}) {
        INFO(text);
        CHECK_FALSE(parse_prefix(text).has_value());
    }
}

TEST_CASE("a prefix contains its first and last address and not their neighbours") {
    const auto seven = prefix("10.2.0.0/15");
    CHECK(to_string(first_address(seven)) == "10.2.0.0");
    CHECK(to_string(last_address(seven)) == "10.3.255.255");
    CHECK(contains(seven, address("10.3.255.255")));
    CHECK_FALSE(contains(seven, address("10.4.0.0")));
    CHECK_FALSE(contains(seven, address("10.1.255.255")));
    CHECK_FALSE(contains(seven, address("2001:db8::1")));
    const auto v6 = prefix("2001:db8:8000::/33");
    CHECK(to_string(last_address(v6)) == "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    CHECK_FALSE(contains(v6, address("2001:db8:7fff:ffff:ffff:ffff:ffff:ffff")));
}

TEST_CASE("prefixes overlap when one contains the other, in either order") {
    CHECK(overlaps(prefix("10.0.0.0/8"), prefix("10.1.0.0/16")));
    CHECK(overlaps(prefix("10.1.0.0/16"), prefix("10.0.0.0/8")));
    CHECK(overlaps(prefix("0.0.0.0/0"), prefix("10.0.0.0/8")));
    CHECK_FALSE(overlaps(prefix("10.0.0.0/16"), prefix("10.1.0.0/16")));
    CHECK_FALSE(overlaps(prefix("0.0.0.0/0"), prefix("::/0")));
}

TEST_CASE("a MAC address is six pairs with colons") {
    const auto mac = parse_mac("02:00:5e:10:00:aF");
    REQUIRE(mac.has_value());
    CHECK(to_string(*mac) == "02:00:5e:10:00:af");
    for (const char* text : {"", "02:00:5e:10:00", "02-00-5e-10-00-af", "02:00:5e:10:00:ag",
                             "02:00:5e:10:00:af:", "2:00:5e:10:00:aff"}) {
        INFO(text);
        CHECK_FALSE(parse_mac(text).has_value());
    }
}

}  // namespace
}  // namespace flowtap::lib
