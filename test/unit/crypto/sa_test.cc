// Making SAs: what is refused, their sizes, and where their keys lie.
#include "crypto/inbound_sa.h"
#include "crypto/outbound_sa.h"
#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>

#include <fstream>
#include <sstream>
#include <string>

namespace flowtap::test {
namespace {

using crypto::Engine;
using crypto::InboundParameters;
using crypto::InboundSa;
using crypto::largest_headroom;
using crypto::largest_tailroom;
using crypto::OutboundParameters;
using crypto::OutboundSa;
using crypto::SaError;
using lib::Family;
using lib::Spi;
using Cause = SaError::Cause;

TEST_CASE("an outbound SA with a wrong parameter is refused by its name") {
    const auto engine = Engine::create().value();
    const auto cause = [&](auto change) {
        OutboundParameters parameters = outbound();
        change(parameters);
        const auto sa = OutboundSa::create(engine, parameters);
        REQUIRE_FALSE(sa.has_value());
        CHECK_FALSE(sa.error().message.empty());
        return sa.error().cause;
    };
    CHECK(cause([](OutboundParameters& p) { p.spi = Spi{255}; }) == Cause::spi);
    CHECK(cause([](OutboundParameters& p) { p.suite = lib::Suite{200}; }) == Cause::suite);
    CHECK(cause([](OutboundParameters& p) { p.key = p.key.first(35); }) == Cause::key);
    CHECK(cause([](OutboundParameters& p) { p.key = {}; }) == Cause::key);
    CHECK(cause([](OutboundParameters& p) { p.remote = address("::1"); }) == Cause::addresses);
    CHECK(cause([](OutboundParameters& p) { p.lease = {5, 0}; }) == Cause::lease);
    CHECK(cause([](OutboundParameters& p) { p.lease = {5, UINT64_MAX - 4}; }) == Cause::lease);
    CHECK(cause([](OutboundParameters& p) { p.dscp = 64; }) == Cause::dscp);
    CHECK(OutboundSa::create(engine, outbound()).has_value());
}

TEST_CASE("an inbound SA with a wrong parameter is refused by its name") {
    const auto engine = Engine::create().value();
    const auto cause = [&](const InboundParameters& parameters) {
        const auto sa = InboundSa::create(engine, parameters);
        REQUIRE_FALSE(sa.has_value());
        return sa.error().cause;
    };
    CHECK(cause({.spi = Spi{1}, .key = key()}) == Cause::spi);
    CHECK(cause({.spi = Spi{256}, .key = key().first(32)}) == Cause::key);
    CHECK(cause({.spi = Spi{256}, .suite = lib::Suite{12}, .key = key()}) == Cause::suite);
    CHECK(cause({.spi = Spi{256}, .key = key(), .window = 63}) == Cause::window);
    CHECK(cause({.spi = Spi{256}, .key = key(), .window = 4097}) == Cause::window);
}

TEST_CASE("the largest inner packet of an MTU fits it, and one byte more does not, with every suite") {
    for (const lib::SuiteInfo& suite : lib::suites) {
        const Bytes material = key_of(suite.suite);
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            for (const bool udp : {false, true}) {
                auto parameters = outbound(suite.suite, material, family);
                parameters.udp_encapsulation = udp;
                const auto sa = make_sa(parameters);
                for (std::size_t mtu = 0; mtu <= 9200; ++mtu) {
                    const std::size_t largest = sa->largest_inner(mtu);
                    REQUIRE(sa->sealed_size(largest + 1) > mtu);
                    REQUIRE((largest == 0 || sa->sealed_size(largest) <= mtu));
                }
                CHECK(sa->headroom() <= largest_headroom);
                for (std::size_t size = 0; size < 100; ++size) {
                    REQUIRE(sa->tailroom(size) <= largest_tailroom);
                    const std::size_t ip = family == Family::ipv4 ? 20 : 40;
                    REQUIRE(sa->sealed_size(size) == ip + (udp ? 8 : 0) + lib::esp_size(suite, size));
                }
            }
        }
    }
}

TEST_CASE("every suite wants a key of its own size") {
    const auto engine = Engine::create().value();
    for (const lib::SuiteInfo& suite : lib::suites) {
        const Bytes material = key_of(suite.suite);
        INFO(suite.name);
        REQUIRE(crypto::KeySchedule::create(engine, suite.suite, material).has_value());
        const auto fewer = std::span(material).first(material.size() - 1);
        CHECK_FALSE(crypto::KeySchedule::create(engine, suite.suite, fewer).has_value());
        CHECK_FALSE(
            crypto::KeySchedule::create(engine, suite.suite, concat({material, fewer.first(1)})).has_value());
    }
}

TEST_CASE("key schedules lie in locked memory that no core file shows and no child inherits",
          "[as-shipped]") {
    const auto sa = make_sa(outbound());
    const auto wanted = reinterpret_cast<std::uintptr_t>(&sa->key().tables());
    std::ifstream smaps("/proc/self/smaps");
    std::string flags;
    bool inside = false;
    for (std::string line; std::getline(smaps, line);) {
        std::uintptr_t first = 0;
        std::uintptr_t last = 0;
        char dash = 0;
        if (std::istringstream head(line); head >> std::hex >> first >> dash >> last && dash == '-') {
            inside = wanted >= first && wanted < last;
        } else if (inside && line.starts_with("VmFlags:")) {
            flags = line + " ";
        }
    }
    CHECK_THAT(flags, Catch::Contains(" lo ") && Catch::Contains(" dd ") && Catch::Contains(" dc "));
    CHECK(wanted % 64 == 0);
}

}  // namespace
}  // namespace flowtap::test
