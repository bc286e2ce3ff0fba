// What is refused of SA files before anything is started, and how the refusal reads.
#include "control/configured_sas.h"

#include "lib/suite.h"
#include "test/unit/control/scratch.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <fstream>
#include <string>
#include <sys/stat.h>

namespace flowtap::test {

namespace {

using Catch::Contains;

/// Two tunnels to two gateways, each with a file of its name.
struct Files {
    Files() {
        config.file = "test.toml";
        config.tunnels = {{"one",
                           lib::parse_address("100.100.100.100").value(),
                           lib::parse_address("192.0.2.1").value(),
                           {scratch / "one"}},
                          {"two",
                           lib::parse_address("100.100.100.100").value(),
                           lib::parse_address("192.0.2.2").value(),
                           {scratch / "two"}}};
        write("one", 0x1001, 'a');
        write("two", 0x1002, 'b');
    }

    void write(const std::string& name, unsigned spi, char digit, const std::string& salt = "00000000",
               const std::string& more = "") const {
        std::ofstream{scratch.path() / name}
            << fmt::format("spi = {}\nsuite = \"aes-256-gcm-16\"\nkey = \"{}{}\"\n{}", spi,
                           digit + std::string{"123456789abcdef0"} + std::string(47, digit), salt, more);
        ::chmod((scratch.path() / name).c_str(), 0600);
    }

    /// All errors, a line each; "" when everything is accepted.
    std::string errors() const {
        std::string text;
        if (const auto loaded = control::load_sas(config); !loaded) {
            for (const auto& error : loaded.error()) {
                text += error + "\n";
            }
        }
        return text;
    }

    Scratch scratch;
    lib::Config config;
};

}  // namespace

TEST_CASE_METHOD(Files, "SAs are read tunnel by tunnel") {
    const auto loaded = control::load_sas(config);
    REQUIRE(loaded.has_value());
    REQUIRE(loaded->sealing.size() == 2);
    CHECK(loaded->sealing[0].sa.spi == lib::Spi{0x1001});
    CHECK(loaded->sealing[1].tunnel == 1);
    CHECK(loaded->sealing[1].file == scratch / "two");
    CHECK(loaded->sealing[0].id != loaded->sealing[1].id);
}

TEST_CASE_METHOD(Files, "one key in two tunnels is refused, even with another SPI and salt") {
    write("two", 0x1002, 'a', "11111111");
    CHECK_THAT(errors(), Contains("same key") && Contains("tunnel \"one\"") && Contains("tunnel \"two\"") &&
                             Contains((scratch / "two").string()));
}

TEST_CASE_METHOD(Files,
                 "SAs that open are read beside those that seal, and need keys and SPIs of their own") {
    config.tunnels[0].sas_in = {scratch / "in", scratch / "in-next"};
    write("in", 0x1001, 'c');  // the gateway chose the SPI of what we seal, we that of what it seals
    write("in-next", 0x2002, 'd');
    const auto loaded = control::load_sas(config);
    REQUIRE(loaded.has_value());
    CHECK(loaded->sealing.size() == 2);
    REQUIRE(loaded->opening.size() == 2);
    CHECK(loaded->opening[1].file == scratch / "in-next");
    CHECK(loaded->opening[1].tunnel == 0);

    write("in-next", 0x2002, 'd', "00000000", "hard-lifetime-seconds = 60\n");
    CHECK_THAT(errors(),
               Contains((scratch / "in-next").string() + ": lifetimes are kept by the end that seals"));
    write("in-next", 0x1001, 'd');
    CHECK_THAT(errors(), Contains("same SPI, 0x1001: this box could not tell them apart") &&
                             Contains((scratch / "in-next").string()));
    write("in-next", 0x2002, 'a');
    CHECK_THAT(errors(), Contains("same key") && Contains((scratch / "one").string()) &&
                             Contains((scratch / "in-next").string()));
}

TEST_CASE_METHOD(Files, "one SPI for two SAs is refused where they lead to one gateway, and only there") {
    write("two", 0x1001, 'b');
    CHECK(errors() == "");
    config.tunnels[1].remote = config.tunnels[0].remote;
    CHECK_THAT(errors(), Contains("same SPI, 0x1001, to 192.0.2.1") && Contains("tunnel \"one\"") &&
                             Contains("tunnel \"two\""));
}

TEST_CASE_METHOD(Files, "a key file that others may read, or that is not there, is refused by its name") {
    ::chmod((scratch / "one").c_str(), 0644);
    std::filesystem::remove(scratch / "two");
    CHECK_THAT(errors(), Contains((scratch / "one").string() + ": mode is 0644") &&
                             Contains((scratch / "two").string() + ": cannot open: No such file"));
}

TEST_CASE_METHOD(Files, "a legacy suite is warned of, by tunnel and file; the others are not") {
    std::ofstream{scratch / "two"} << "spi = 300\nsuite = \"3des-cbc-hmac-sha1-96\"\n"
                                      "key = \"0123456789abcdef23456789abcdef01456789abcdef0123\"\n"
                                      "authentication-key = \"000102030405060708090a0b0c0d0e0f10111213\"\n";
    const auto loaded = control::load_sas(config);
    REQUIRE(loaded.has_value());
    const auto warnings = control::legacy_warnings(*loaded, config);
    REQUIRE(warnings.size() == 1);
    CHECK_THAT(warnings[0], Contains("tunnel \"two\"") && Contains((scratch / "two").string()) &&
                                Contains("3des-cbc-hmac-sha1-96 is a legacy suite"));
}

TEST_CASE_METHOD(Files, "a padded length that makes packets too long for the delivery port is refused") {
    config.delivery.mtu = 1500;
    write("one", 0x1001, 'a', "00000000", "padded-length = 1446\n");  // 20 + 8 + 8 + 1448 + 16 = 1500
    CHECK(errors() == "");
    write("one", 0x1001, 'a', "00000000", "padded-length = 1447\n");
    CHECK_THAT(errors(), Contains("padded-length 1447 makes packets of 1504 bytes"));
    write("one", 0x1001, 'a', "00000000", "padded-length = 575\n");
    CHECK_THAT(errors(), Contains("padded-length 575 cuts packets of tunnel \"one\""));
}

TEST_CASE_METHOD(Files,
                 "an mtu is refused that leaves less room than every host takes, by the tunnel's name") {
    config.tunnels.pop_back();
    const std::size_t ipv4 = 20 + lib::esp_size(*lib::find_suite("aes-256-gcm-16"), 576);
    config.delivery.mtu = static_cast<std::uint32_t>(ipv4);
    CHECK(errors() == "");
    config.delivery.mtu = static_cast<std::uint32_t>(ipv4 - 4);
    CHECK_THAT(errors(), Contains("test.toml: the delivery port's mtu, 628, leaves 574 bytes") &&
                             Contains("tunnel \"one\"") && Contains("an mtu of 632 or more"));

    // With IPv6 behind it, more has to fit.
    config.routes = {{lib::parse_prefix("2001:db8::/32").value(), std::uint16_t{0}}};
    const std::size_t ipv6 = 20 + lib::esp_size(*lib::find_suite("aes-256-gcm-16"), 1280);
    config.delivery.mtu = static_cast<std::uint32_t>(ipv6);
    CHECK(errors() == "");
    config.delivery.mtu = static_cast<std::uint32_t>(ipv6 - 4);
    CHECK_THAT(errors(), Contains("1280 have to fit"));
    write("one", 0x1001, 'a', "00000000", "udp-encapsulation = true\n");
    config.delivery.mtu = static_cast<std::uint32_t>(ipv6 + 7);
    CHECK_THAT(errors(), Contains("1280 have to fit"));
}

}  // namespace flowtap::test
