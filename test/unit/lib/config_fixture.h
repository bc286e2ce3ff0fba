// A good configuration file, and the same with a part of it replaced.
#pragma once

#include "lib/config.h"
#include "test/unit/lib/temporary_folder.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::lib::test {

using flowtap::test::TemporaryFolder;

/// A file with every section, as an operator would write it. 1 is the number of its first line.
inline constexpr std::string_view good_text = R"([dataplane]
workers = [0]
max-taps = 1_000

[[port]]
name = "xe-0/0/0"
device = "0000:03:00.0"
[[port]]
name = "xe-0/0/1"
device = "0000:03:00.1"
[[port]]
name = "xe-0/0/2"
device = "net_af_packet0,iface=eth2"

[[wire]]
name = "edge0"
a = "xe-0/0/1"
b = "xe-0/0/0"

[delivery]
port = "xe-0/0/2"
addresses = ["100.100.100.100/32", "2001:db8::1/128"]
next-hop-mac = "02:00:5e:00:00:01"

[[tunnel]]
name = "ttp"
local = "100.100.100.100"
remote = "123.123.123.123"
sa = "keys/ttp.sa"

[[route]]
prefix = "2.2.2.0/27"
tunnel = "ttp"
[[route]]
prefix = "2001:db8:1::/48"
clear = true

[[destination]]
name = "archive"
address = "2001:db8:1::5"
port = 5000
source-address = "2001:db8::1"
source-port = 5001

[[source]]
name = "ft-ttp"
key-file = "keys/ft-ttp"
destinations = ["2.2.2.0/28", "2.2.2.16/28"]
max-criteria = 10

[ssh]
access = ["192.0.2.0/24"]
)";

struct ConfigFolder {
    TemporaryFolder folder;
    std::filesystem::path file = folder.path() / "flowtap.toml";

    ConfigFolder() {
        std::filesystem::create_directory(folder.path() / "keys");
        std::ofstream(folder.path() / "keys" / "ttp.sa") << "spi = 1\n";
        std::ofstream(folder.path() / "keys" / "ft-ttp") << "secret\n";
    }

    std::expected<Config, std::vector<ConfigError>> load(std::string_view text) const {
        std::ofstream(file, std::ios::binary) << text;
        return load_config(file);
    }

    /// The good text with one part of it replaced; fails the test if the part is not there.
    std::expected<Config, std::vector<ConfigError>> with(std::string_view part,
                                                         std::string_view instead) const {
        std::string text(good_text);
        const std::size_t at = text.find(part);
        REQUIRE(at != std::string::npos);
        return load(text.replace(at, part.size(), instead));
    }

    /// The one error of the good text with a part replaced: "line:column: message".
    std::string error(std::string_view part, std::string_view instead) const {
        const auto config = with(part, instead);
        REQUIRE_FALSE(config);
        CHECK(config.error().size() == 1);
        CHECK(config.error()[0].file == file.native());
        return fmt::format("{}:{}: {}", config.error()[0].line, config.error()[0].column,
                           config.error()[0].message);
    }
};

inline std::string all_of(const std::vector<ConfigError>& errors) {
    std::string text;
    for (const ConfigError& error : errors) {
        text += to_string(error) + "\n";
    }
    return text;
}

}  // namespace flowtap::lib::test
