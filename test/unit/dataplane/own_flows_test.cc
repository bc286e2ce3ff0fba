// The set of the box's own flows: exact, counted, and never torn for a reader.
#include "dataplane/own_flows.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

namespace {

using flowtap::dataplane::FlowKey;
using flowtap::dataplane::OwnFlows;
namespace match = flowtap::dataplane::match;
namespace lib = flowtap::lib;

FlowKey udp(std::uint16_t dest_port, std::uint8_t last = 1) {
    FlowKey key{.source_port = 6000, .dest_port = dest_port, .protocol = 17};
    key.source = {1, 1, 1, last};
    key.dest = {2, 2, 2, 2};
    return key;
}

match::Headers headers(const FlowKey& key, bool ports = true) {
    match::Headers result{};
    result.source = key.source;
    result.dest = key.dest;
    result.protocol = key.protocol;
    result.family = key.family;
    result.flags = ports ? match::flag::ports : match::flag::later_fragment;
    result.source_port = ports ? key.source_port : std::uint16_t{0};
    result.dest_port = ports ? key.dest_port : std::uint16_t{0};
    return result;
}

TEST_CASE("a flow and its later fragments are found, its neighbours are not") {
    match::Quiescence quiescence(1);
    OwnFlows flows(quiescence);
    REQUIRE(flows.add_encapsulation(udp(5000)));
    CHECK(flows.contains(headers(udp(5000))));
    CHECK(flows.contains(headers(udp(5000), false)));
    CHECK_FALSE(flows.contains(headers(udp(5001))));
    CHECK_FALSE(flows.contains(headers(udp(5000, 9))));
    CHECK_FALSE(flows.contains(headers(udp(5000, 9), false)));
    FlowKey other = udp(5000);
    other.protocol = 6;
    CHECK_FALSE(flows.contains(headers(other)));
    other = udp(5000);
    other.family = lib::Family::ipv6;
    CHECK_FALSE(flows.contains(headers(other)));
    FlowKey zero = udp(0);
    zero.source_port = 0;
    CHECK_FALSE(flows.contains(headers(zero)));  // ports that are 0 are not ports that are unknown
}

TEST_CASE("a flow is found as long as one of those who added it has not removed it") {
    match::Quiescence quiescence(1);
    OwnFlows flows(quiescence);
    flows.add_encapsulation(udp(5000));
    flows.add_encapsulation(udp(5000));
    flows.add_encapsulation(udp(5001));
    flows.remove_encapsulation(udp(5000));
    CHECK(flows.contains(headers(udp(5000))));
    flows.remove_encapsulation(udp(5000));
    CHECK_FALSE(flows.contains(headers(udp(5000))));
    CHECK(flows.contains(headers(udp(5000), false)));  // fragments of port 5001 look the same
    flows.remove_encapsulation(udp(5001));
    CHECK_FALSE(flows.contains(headers(udp(5000), false)));
    flows.reclaim();
}

TEST_CASE("a tunnel's ESP is found bare and in UDP, in the direction that leaves the box") {
    match::Quiescence quiescence(1);
    OwnFlows flows(quiescence);
    const lib::IpAddress local = *lib::parse_address("100.100.100.100");
    const lib::IpAddress remote = *lib::parse_address("123.123.123.123");
    flows.add_tunnel(local, remote);
    FlowKey esp{.source = local.bytes, .dest = remote.bytes, .protocol = 50};
    CHECK(flows.contains(headers(esp, false)));
    FlowKey nat = esp;
    nat.protocol = 17;
    nat.source_port = nat.dest_port = 4500;
    CHECK(flows.contains(headers(nat)));
    nat.dest_port = 4501;
    CHECK_FALSE(flows.contains(headers(nat)));
    std::swap(esp.source, esp.dest);
    CHECK_FALSE(flows.contains(headers(esp, false)));
}

TEST_CASE("many pairs of addresses share bits of the filter, and each is still found while it is there") {
    match::Quiescence quiescence(1);
    OwnFlows flows(quiescence);
    const auto pair = [](unsigned i) {
        FlowKey key{.source_port = 6000, .dest_port = 5000, .protocol = 17};
        key.source = {1, 1, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
        key.dest = {2, 2, 2, 2};
        return key;
    };
    constexpr unsigned count = 20'000;  // more than the filter has bits
    for (unsigned i = 0; i < count; ++i) {
        REQUIRE(flows.add_encapsulation(pair(i)));
    }
    for (unsigned i = 0; i < count; i += 2) {
        flows.remove_encapsulation(pair(i));
    }
    for (unsigned i = 0; i < count; ++i) {
        INFO(i);
        REQUIRE(flows.contains(headers(pair(i))) == (i % 2 == 1));
        REQUIRE(flows.contains(headers(pair(i), false)) == (i % 2 == 1));
    }
    for (unsigned i = 1; i < count; i += 2) {
        flows.remove_encapsulation(pair(i));
    }
    REQUIRE_FALSE(flows.contains(headers(pair(1))));
    REQUIRE(flows.add_encapsulation(pair(1)));
    CHECK(flows.contains(headers(pair(1))));
}

TEST_CASE("a reader never misses a flow that stays, whatever comes and goes beside it") {
    match::Quiescence quiescence(1);
    OwnFlows flows(quiescence);
    for (std::uint16_t port = 1; port <= 64; ++port) {
        flows.add_encapsulation(udp(port));
    }
    std::atomic<bool> stop = false;
    std::atomic<bool> joined = false;
    std::uint64_t missed = 0;
    std::thread reader([&] {
        quiescence.join(0);
        joined = true;
        while (!stop) {
            for (std::uint16_t port = 1; port <= 64; ++port) {
                missed += flows.contains(headers(udp(port))) ? 0U : 1U;
            }
            quiescence.quiescent(0);
        }
        quiescence.leave(0);
    });
    while (!joined) {
        std::this_thread::yield();
    }
    for (unsigned round = 0; round < 20'000; ++round) {
        const auto port = static_cast<std::uint16_t>(1000 + round % 5000);
        flows.add_encapsulation(udp(port));
        flows.remove_encapsulation(udp(port));
        flows.reclaim();
    }
    stop = true;
    reader.join();
    CHECK(missed == 0);
}

}  // namespace
