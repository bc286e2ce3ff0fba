// Which worker gets which queue.
#include "dataplane/queue_plan.h"

#include <catch2/catch.hpp>

#include <initializer_list>
#include <set>

namespace {

namespace lib = flowtap::lib;
using flowtap::dataplane::Lane;
using flowtap::dataplane::plan_queues;
using flowtap::dataplane::QueueCount;

/// Ports 0-1 and 2-3 are wires, 4 delivers.
lib::Config two_wires(std::size_t workers) {
    lib::Config config;
    for (std::uint32_t i = 0; i < workers; ++i) {
        config.dataplane.workers.push_back(i);
    }
    for (const char* name : {"a", "b", "c", "d", "delivery"}) {
        config.ports.push_back({.name = name, .device = "net_null0"});
    }
    config.wires = {{"first", 0, 1}, {"second", 2, 3}};
    config.delivery.port = 4;
    return config;
}

TEST_CASE("no queue belongs to two workers, and every direction of every wire is served") {
    for (const std::size_t workers : {1U, 2U, 3U, 5U}) {
        for (const std::uint16_t queues : std::initializer_list<std::uint16_t>{1, 2, 16}) {
            INFO(workers << " workers, " << queues << " queues");
            std::vector<QueueCount> limits(4, {queues, queues});
            limits.push_back({1, 16});
            const auto plan = plan_queues(two_wires(workers), limits);
            REQUIRE(plan);
            std::set<std::pair<int, int>> receive;
            std::set<std::pair<int, int>> transmit;
            std::set<std::pair<int, int>> directions;
            for (const auto& lanes : plan->workers) {
                for (const Lane& lane : lanes) {
                    CHECK(receive.emplace(lane.rx_port, lane.rx_queue).second);
                    CHECK(transmit.emplace(lane.tx_port, lane.tx_queue).second);
                    CHECK(lane.rx_queue < plan->ports[lane.rx_port].rx);
                    CHECK(lane.tx_queue < plan->ports[lane.tx_port].tx);
                    directions.emplace(lane.rx_port, lane.tx_port);
                }
            }
            CHECK(directions == std::set<std::pair<int, int>>{{0, 1}, {1, 0}, {2, 3}, {3, 2}});
            for (std::size_t port = 0; port < 4; ++port) {
                CHECK(plan->ports[port].rx == (queues >= workers ? workers : 1));
            }
            CHECK(plan->ports[4] == QueueCount{0, static_cast<std::uint16_t>(workers)});
        }
    }
}

TEST_CASE("directions of one-queue devices go round the workers") {
    std::vector<QueueCount> limits(4, {1, 1});
    limits.push_back({0, 4});
    const auto plan = plan_queues(two_wires(4), limits);
    for (const auto& lanes : plan->workers) {
        CHECK(lanes.size() == 1);
    }
}

TEST_CASE("with an interface for the kernel, the delivery port has queues that no worker has") {
    lib::Config config = two_wires(2);
    config.delivery.interface = "delivery0";
    std::vector<QueueCount> limits(4, {2, 2});
    limits.push_back({1, 3});
    const auto plan = plan_queues(config, limits);
    REQUIRE(plan);
    CHECK(plan->ports[4] == QueueCount{1, 3});
    limits[4] = {1, 2};
    CHECK(plan_queues(config, limits).error().find("2 workers and the kernel") != std::string::npos);
    limits[4] = {0, 3};
    CHECK(plan_queues(config, limits).error().find("cannot receive") != std::string::npos);
}

TEST_CASE("what cannot be served is refused by the port's name") {
    std::vector<QueueCount> limits(5, {1, 1});
    CHECK(plan_queues(two_wires(2), limits).error().find("\"delivery\"") != std::string::npos);
    limits[2] = {0, 1};
    CHECK(plan_queues(two_wires(1), limits).error().find("\"c\"") != std::string::npos);
    lib::Config config = two_wires(1);
    config.delivery.port = 1;
    CHECK(plan_queues(config, std::vector<QueueCount>(5, {1, 1})).error().find("\"b\"") != std::string::npos);
}

}  // namespace
