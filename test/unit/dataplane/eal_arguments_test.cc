// EAL arguments from configurations.
#include "dataplane/eal_arguments.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace {

namespace dataplane = flowtap::dataplane;
namespace lib = flowtap::lib;

lib::Config config_with(std::vector<std::uint32_t> workers) {
    lib::Config config;
    config.file = "flowtap.toml";
    config.dataplane.workers = std::move(workers);
    return config;
}

bool has(const std::vector<std::string>& arguments, const std::string& wanted) {
    return std::ranges::count(arguments, wanted) == 1;
}

TEST_CASE("the manager takes a core that is no worker's") {
    const dataplane::Machine machine{{2, 3, 5}, 0};
    CHECK(dataplane::manager_core(config_with({2}), machine) == 3);
    CHECK(dataplane::manager_core(config_with({3, 2}), machine) == 5);
    lib::Config config = config_with({2});
    config.dataplane.manager = 5;
    CHECK(dataplane::manager_core(config, machine) == 5);
}

TEST_CASE(
    "a worker's core is the manager's, too, only on a machine of one core, or where that is asked for") {
    CHECK(dataplane::manager_core(config_with({4}), {{4}, 0}) == 4);
    const auto refused = dataplane::manager_core(config_with({4, 5}), {{4, 5}, 0});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == dataplane::ExitCode::configuration);
    CHECK(dataplane::manager_core(config_with({4, 5}), {{4, 5}, 0, true}) == 4);
    CHECK(dataplane::manager_core(config_with({4}), {{4, 5}, 0, true}) == 5);
    lib::Config config = config_with({4});
    config.dataplane.manager = 4;
    CHECK_FALSE(dataplane::manager_core(config, {{4, 5}, 0}));
    CHECK_FALSE(dataplane::manager_core(config_with({6}), {{4, 5}, 0}));
}

TEST_CASE("lcores are the manager, then the workers, each on its core") {
    const auto arguments = dataplane::eal_arguments(config_with({7, 3}), {}, {{1, 3, 7}, 4096}, 9);
    REQUIRE(arguments);
    CHECK(has(*arguments, "--lcores=0@1,1@7,2@3"));
    CHECK(has(*arguments, "--main-lcore=0"));
    CHECK(has(*arguments, "--file-prefix=flowtap-9"));
    CHECK(has(*arguments, "--no-telemetry"));
    CHECK(has(*arguments, "--iova-mode=va"));
    CHECK(has(*arguments, "-m512"));
}

TEST_CASE("huge pages leave nothing on hugetlbfs, and their absence says how to get them") {
    lib::Config config = config_with({1});
    const auto with = dataplane::eal_arguments(config, {}, {{0, 1}, 512}, 1);
    REQUIRE(with);
    CHECK(has(*with, "--in-memory"));
    CHECK_FALSE(has(*with, "--no-huge"));
    const auto none = dataplane::eal_arguments(config, {}, {{0, 1}, 511}, 1);
    REQUIRE_FALSE(none);
    CHECK(none.error().message.find("sysctl -w vm.nr_hugepages=256") != std::string::npos);
    config.dataplane.huge_pages = false;
    const auto without = dataplane::eal_arguments(config, {}, {{0, 1}, 0}, 1);
    REQUIRE(without);
    CHECK(has(*without, "--no-huge"));
    CHECK_FALSE(has(*without, "--in-memory"));
}

TEST_CASE("only the configured PCI devices are touched") {
    const std::vector devices{*dataplane::parse_device("03:00.0", 0),
                              *dataplane::parse_device("net_null", 1)};
    const auto some = dataplane::eal_arguments(config_with({1}), devices, {{0, 1}, 4096}, 1);
    CHECK(has(*some, "--allow=0000:03:00.0"));
    CHECK_FALSE(has(*some, "--no-pci"));
    const auto none =
        dataplane::eal_arguments(config_with({1}), std::span(devices).subspan(1), {{0, 1}, 4096}, 1);
    CHECK(has(*none, "--no-pci"));
}

}  // namespace
