// The configuration file: what a good one means.
#include "lib/config.h"

#include "lib/config_reference.h"
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

}  // namespace

TEST_CASE_METHOD(ConfigFolder, "config: a good file means what it says", "[config]") {
    const auto loaded = load(good_text);
    INFO((loaded ? "" : all_of(loaded.error())));
    REQUIRE(loaded);
    const Config& config = *loaded;
    CHECK(config.file == file);
    CHECK(config.dataplane.workers == std::vector<std::uint32_t>{0});
    CHECK_FALSE(config.dataplane.manager);
    CHECK(config.dataplane.max_taps == 1000);
    REQUIRE(config.ports.size() == 3);
    CHECK(config.ports[2].name == "xe-0/0/2");
    CHECK(config.ports[2].device == "net_af_packet0,iface=eth2");
    CHECK(config.ports[2].line == 13);
    CHECK(config.ports[2].column == 10);
    REQUIRE(config.wires.size() == 1);
    CHECK(config.wires[0].name == "edge0");
    CHECK(config.wires[0].a == 1);
    CHECK(config.wires[0].b == 0);
    CHECK_FALSE(config.wires[0].mirror_link_loss);
    CHECK(config.delivery.port == 2);
    CHECK(config.delivery.addresses == std::vector{parse_interface_address("100.100.100.100/32").value(),
                                                   parse_interface_address("2001:db8::1/128").value()});
    CHECK(config.delivery.next_hop == MacAddress{2, 0, 0x5e, 0, 0, 1});
    REQUIRE(config.tunnels.size() == 1);
    CHECK(config.tunnels[0].local == parse_address("100.100.100.100").value());
    CHECK(config.tunnels[0].remote == parse_address("123.123.123.123").value());
    CHECK(config.tunnels[0].sas == std::vector{folder.path() / "keys/ttp.sa"});
    REQUIRE(config.routes.size() == 2);
    CHECK(config.routes[0].prefix == parse_prefix("2.2.2.0/27").value());
    CHECK(config.routes[0].tunnel == 0);
    CHECK_FALSE(config.routes[1].tunnel);
    REQUIRE(config.destinations.size() == 1);
    CHECK(config.destinations[0].name == "archive");
    CHECK(config.destinations[0].port == 5000);
    CHECK(config.destinations[0].source_port == 5001);
    CHECK(config.destinations[0].source_address == parse_address("2001:db8::1").value());
    CHECK(config.destinations[0].ttl == 255);
    REQUIRE(config.sources.size() == 1);
    CHECK(config.sources[0].name == "ft-ttp");
    CHECK(config.sources[0].key_file == folder.path() / "keys/ft-ttp");
    CHECK(config.sources[0].users == std::vector<std::string>{"ft-ttp"});
    CHECK(config.sources[0].destinations.size() == 2);
    CHECK(config.sources[0].max_criteria == 10);
    CHECK(config.ssh.access == std::vector{parse_prefix("192.0.2.0/24").value()});
    CHECK(config.ssh.listen.empty());
}

TEST_CASE_METHOD(ConfigFolder, "config: what is not said is the default of lib/config.h",
                 "[config][dtcp:1.ssh-port][dtcp:1.udp-port][dtcp:1.udp-off][dtcp:1.limits-range]") {
    const auto config = load(good_text);
    REQUIRE(config);
    const Config fresh;
    CHECK(config->dataplane.memory_mib == fresh.dataplane.memory_mib);
    CHECK(config->dataplane.huge_pages);
    CHECK(config->dataplane.wait_for_control == 2.0);
    CHECK(config->delivery.mtu == 1500);
    CHECK(config->control.run_dir == "/run/flowtap");
    CHECK(config->control.state_dir == "/var/lib/flowtap");
    CHECK(config->control.user == "flowtap-control");
    CHECK(config->ssh.port == 32001);
    CHECK(config->ssh.connection_limit == 75);
    CHECK(config->ssh.rate_limit == 150);
    CHECK(config->ssh.rate_limit_share == 80);
    CHECK(config->ssh.idle_timeout == 3600);
    CHECK(config->ssh.host_keys == std::vector<std::filesystem::path>{"/etc/ssh/ssh_host_ed25519_key"});
    CHECK(config->dataplane.inner_match.empty());
    CHECK(config->udp.ports == std::vector<std::uint16_t>{1814});
    CHECK(config->udp.listen.empty());
    CHECK_FALSE(config->sources[0].udp);
}

TEST_CASE_METHOD(ConfigFolder, "config: every key of every section is read",
                 "[config][dtcp:1.ssh-port][dtcp:1.udp-port]") {
    std::ofstream(folder.path() / "host_key") << "x";
    std::string text(good_text);
    const auto insert_after = [&](std::string_view part, std::string_view more) {
        text.insert(text.find(part) + part.size(), more);
    };
    insert_after(
        "max-taps = 1_000\n",
        "manager = 1\nmemory-mib = 64\nhuge-pages = false\nmtu = 9216\nbuffers = 512\ncopy-buffers = 513\n"
        "queue-size = 64\nwait-for-control = 3\ninner-match = [\"vxlan\", \"gre\", \"gtp-u\"]\n");
    insert_after("next-hop-mac = \"02:00:5e:00:00:01\"\n", "mtu = 9198\n");
    insert_after("source-port = 5001\n",
                 "ttl = 1\nsoft-limit = 1\nhard-limit = 40_000_000_000\nshim = \"nokia-l3\"\ndscp = 63\n"
                 "rate-limit = 1_000_000_000_000\nburst-size = 131_072\n");
    insert_after("max-criteria = 10\n",
                 "users = [\"alice\", \"bob\"]\nudp = true\n"
                 "notify = [\"192.0.2.9:1814\", \"[2001:db8::9]:99\"]\nnotify-sessions = true\n"
                 "notify-version = \"0.5\"\n");
    text +=
        "listen = [\"192.0.2.1\", \"::1\"]\nport = 22\nconnection-limit = 1\nrate-limit = 250\n"
        "host-keys = [\"host_key\"]\n[control]\nrun-dir = \"run\"\nstate-dir = \"/state\"\nuser = \"me\"\n"
        "[udp]\nlisten = [\"0.0.0.0\", \"::1\"]\nports = [1, 65535]\n";
    const auto config = load(text);
    INFO((config ? "" : all_of(config.error())));
    REQUIRE(config);
    CHECK(config->dataplane.manager == 1U);
    CHECK(config->dataplane.memory_mib == 64);
    CHECK_FALSE(config->dataplane.huge_pages);
    CHECK(config->dataplane.mtu == 9216);
    CHECK(config->dataplane.buffers == 512);
    CHECK(config->dataplane.copy_buffers == 513);
    CHECK(config->dataplane.queue_size == 64);
    CHECK(config->dataplane.wait_for_control == 3.0);
    CHECK(config->dataplane.inner_match ==
          std::vector{InnerTunnel::vxlan, InnerTunnel::gre, InnerTunnel::gtp_u});
    CHECK(config->delivery.mtu == 9198);
    CHECK(config->destinations[0].ttl == 1);
    CHECK(config->sources[0].users == std::vector<std::string>{"alice", "bob"});
    CHECK(config->ssh.listen.size() == 2);
    CHECK(config->ssh.port == 22);
    CHECK(config->ssh.connection_limit == 1);
    CHECK(config->ssh.rate_limit == 250);
    CHECK(config->ssh.host_keys == std::vector{folder.path() / "host_key"});
    CHECK(config->control.run_dir == folder.path() / "run");
    CHECK(config->control.state_dir == "/state");
    CHECK(config->control.user == "me");
    CHECK(config->destinations[0].soft_limit == 1U);
    CHECK(config->destinations[0].hard_limit == 40'000'000'000U);
    CHECK(config->destinations[0].shim == Shim::nokia_l3);
    CHECK(config->destinations[0].dscp == 63);
    CHECK(config->destinations[0].rate_limit == 1'000'000'000'000U);
    CHECK(config->destinations[0].burst_size == 131'072);
    CHECK(config->sources[0].udp);
    REQUIRE(config->sources[0].notify.size() == 2);
    CHECK(to_string(config->sources[0].notify[0]) == "192.0.2.9:1814");
    CHECK(to_string(config->sources[0].notify[1]) == "[2001:db8::9]:99");
    CHECK(config->sources[0].notify_sessions);
    CHECK(config->sources[0].notify_version == 5);
    CHECK(config->udp.listen.size() == 2);
    CHECK(config->udp.ports == std::vector<std::uint16_t>{1, 65535});
}

TEST_CASE_METHOD(ConfigFolder, "config: the digest is the SHA-256 of the file's bytes", "[config]") {
    const auto first = load(good_text);
    const auto again = load(good_text);
    const auto other = load(std::string(good_text) + "\n");
    REQUIRE((first && again && other));
    CHECK(first->digest == again->digest);
    CHECK(first->digest != other->digest);
    std::string hex;
    for (const std::uint8_t byte : first->digest) {
        hex += fmt::format("{:02x}", byte);
    }
    // Of good_text, by sha256sum.
    CHECK(hex == "652f51fae30d255c73d0ecd07af418ae9428d2f16c69644e74e2fb8aabb74818");
}

TEST_CASE("config: the reference in docs/ is the schema's", "[config]") {
    std::ifstream stream(FLOWTAP_SOURCE "/docs/configuration.md", std::ios::binary);
    const std::string page{std::istreambuf_iterator<char>(stream), {}};
    // `ninja -C BUILD update-docs` writes the page anew.
    CHECK(page == configuration_reference());
    CHECK_THAT(page,
               Contains("| `max-taps` | a number, 1 to 16777216 | 1048576 |") && Contains("## [[route]]"));
}

TEST_CASE("config: an error says where, or that it is the whole file", "[config]") {
    CHECK(to_string(ConfigError{.file = "f", .line = 2, .column = 3, .message = "m"}) == "f:2:3: m");
    CHECK(to_string(ConfigError{.file = "f", .message = "m"}) == "f: m");
}
