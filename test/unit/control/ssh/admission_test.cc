// Admission: which setting refuses, in which order, and what a refused connection costs the others.
#include "control/ssh/admission.h"

#include <catch2/catch.hpp>

#include <arpa/inet.h>
#include <chrono>
#include <cstring>
#include <netinet/in.h>
#include <string>

namespace flowtap::control::ssh {
namespace {

using namespace std::chrono_literals;

constexpr RateLimit::TimePoint now{std::chrono::seconds{1'000'000}};

lib::IpAddress address(std::string_view text) {
    return lib::parse_address(text).value();
}

lib::SshConfig config(std::initializer_list<std::string_view> access, std::uint16_t connections,
                      std::uint16_t rate) {
    lib::SshConfig result;
    for (const auto prefix : access) {
        result.access.push_back(lib::parse_prefix(prefix).value());
    }
    result.connection_limit = connections;
    result.rate_limit = rate;
    return result;
}

sockaddr_storage socket_address(int family, const char* text) {
    sockaddr_storage storage{};
    storage.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET) {
        sockaddr_in ipv4{};
        ipv4.sin_family = AF_INET;
        REQUIRE(::inet_pton(AF_INET, text, &ipv4.sin_addr) == 1);
        std::memcpy(&storage, &ipv4, sizeof ipv4);
    } else {
        sockaddr_in6 ipv6{};
        ipv6.sin6_family = AF_INET6;
        REQUIRE(::inet_pton(AF_INET6, text, &ipv6.sin6_addr) == 1);
        std::memcpy(&storage, &ipv6, sizeof ipv6);
    }
    return storage;
}

TEST_CASE("an empty access list admits everyone") {
    Admission admission(config({}, 75, 150));
    CHECK(admission.decide(address("192.0.2.1"), 0, now) == Verdict::admitted);
    CHECK(admission.decide(address("2001:db8::1"), 0, now) == Verdict::admitted);
}

TEST_CASE("an access list admits its prefixes only, first and last address included") {
    Admission admission(config({"192.0.2.16/28", "2001:db8:1::/48"}, 75, 150));
    for (const auto* inside : {"192.0.2.16", "192.0.2.31", "2001:db8:1::", "2001:db8:1:ffff::1"}) {
        CHECK(admission.decide(address(inside), 0, now) == Verdict::admitted);
    }
    for (const auto* outside : {"192.0.2.15", "192.0.2.32", "2001:db8:2::1", "::c000:210"}) {
        CHECK(admission.decide(address(outside), 0, now) == Verdict::access_list);
    }
}

TEST_CASE("connection-limit is the number of sessions, not one less or more", "[dtcp:1.connection-limit]") {
    Admission admission(config({}, 2, 150));
    CHECK(admission.decide(address("192.0.2.1"), 1, now) == Verdict::admitted);
    CHECK(admission.decide(address("192.0.2.1"), 2, now) == Verdict::connection_limit);
}

TEST_CASE("strangers and connections over the limit use up none of the minute's attempts") {
    Admission admission(config({"192.0.2.0/24"}, 1, 1));
    for (int i = 0; i < 1'000; ++i) {
        REQUIRE(admission.decide(address("198.51.100.1"), 0, now) == Verdict::access_list);
        REQUIRE(admission.decide(address("192.0.2.1"), 1, now) == Verdict::connection_limit);
    }
    CHECK(admission.decide(address("192.0.2.1"), 0, now) == Verdict::admitted);
    CHECK(admission.decide(address("192.0.2.1"), 0, now) == Verdict::rate_limit);
}

TEST_CASE("one client has at most its share, and the rest is there for the others at any time") {
    auto settings = config({}, 75, 10);
    settings.rate_limit_share = 70;
    Admission admission(settings);
    for (int i = 0; i < 7; ++i) {
        REQUIRE(admission.decide(address("192.0.2.1"), 0, now) == Verdict::admitted);
    }
    // What it is refused takes nothing from anyone, and does not push its own next admission back.
    for (int i = 0; i < 1'000; ++i) {
        REQUIRE(admission.decide(address("192.0.2.1"), 0, now + 30s) == Verdict::rate_limit_share);
    }
    for (int i = 0; i < 3; ++i) {
        REQUIRE(admission.decide(address("192.0.2.2"), 0, now + 30s) == Verdict::admitted);
    }
    CHECK(admission.decide(address("192.0.2.3"), 0, now + 30s) == Verdict::rate_limit);
    CHECK(admission.decide(address("192.0.2.1"), 0, now + 60s) == Verdict::admitted);
}

TEST_CASE("an IPv6 client is its /64: other addresses of it are no other client") {
    auto settings = config({}, 75, 4);
    settings.rate_limit_share = 50;
    Admission admission(settings);
    CHECK(admission.decide(address("2001:db8::1"), 0, now) == Verdict::admitted);
    CHECK(admission.decide(address("2001:db8::ffff:0:0:1"), 0, now) == Verdict::admitted);
    CHECK(admission.decide(address("2001:db8:0:0:8000::"), 0, now) == Verdict::rate_limit_share);
    CHECK(admission.decide(address("2001:db8:0:1::1"), 0, now) == Verdict::admitted);
    // The same bytes as an IPv4 address are another client.
    CHECK(client_of(address("32.1.13.184")) != client_of(address("2001:db8::")));
}

TEST_CASE("a share is rounded up: it is never nothing, and all of a small limit") {
    CHECK(share_of(150, 80) == 120);
    CHECK(share_of(3, 80) == 3);
    CHECK(share_of(1, 1) == 1);
    CHECK(share_of(250, 100) == 250);
}

TEST_CASE("a stranger learns nothing of the limits: the access list is asked first") {
    Admission admission(config({"192.0.2.0/24"}, 1, 1));
    CHECK(admission.decide(address("198.51.100.1"), 5, now) == Verdict::access_list);
}

TEST_CASE("an IPv4-mapped address is the IPv4 address that it stands for") {
    CHECK(client_address(socket_address(AF_INET, "192.0.2.9")) == address("192.0.2.9"));
    CHECK(client_address(socket_address(AF_INET6, "::ffff:192.0.2.9")) == address("192.0.2.9"));
    CHECK(client_address(socket_address(AF_INET6, "2001:db8::9")) == address("2001:db8::9"));
    sockaddr_storage other{};
    other.ss_family = AF_UNIX;
    CHECK_FALSE(client_address(other).has_value());
}

}  // namespace
}  // namespace flowtap::control::ssh
