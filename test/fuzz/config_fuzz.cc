// Any bytes as the configuration file: an error with a place and a message, or a configuration that holds
// together.
#include "lib/config.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

using flowtap::lib::Config;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

void check(const Config& config) {
    require(!config.dataplane.workers.empty() && config.dataplane.max_taps > 0);
    require(!config.ports.empty() && config.ports.size() <= flowtap::lib::max_ports && !config.wires.empty());
    for (const auto& wire : config.wires) {
        require(wire.a < config.ports.size() && wire.b < config.ports.size() && wire.a != wire.b);
        require(wire.a != config.delivery.port && wire.b != config.delivery.port);
    }
    require(config.delivery.port < config.ports.size());
    for (std::size_t i = 0; i < config.routes.size(); ++i) {
        require(!config.routes[i].tunnel || *config.routes[i].tunnel < config.tunnels.size());
        for (std::size_t j = 0; j < i; ++j) {
            require(!overlaps(config.routes[i].prefix, config.routes[j].prefix));
        }
    }
    for (const auto& source : config.sources) {
        require(!source.name.empty() && !source.destinations.empty() && !source.users.empty());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto config = flowtap::lib::parse_config(text, "fuzz.toml");
    if (config) {
        check(*config);
        return 0;
    }
    require(!config.error().empty());
    for (const auto& error : config.error()) {
        require(!error.message.empty() && error.file == "fuzz.toml" &&
                (error.line == 0) == (error.column == 0));
    }
    return 0;
}
