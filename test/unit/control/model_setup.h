// The configuration that the model-based test runs under: as the service reads it, and as the model knows it.
#pragma once

#include "lib/config.h"
#include "test/unit/control/model_ask.h"

#include <cstddef>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace flowtap::test::model {

struct SourceSetup {
    std::string name;
    std::vector<std::string> users;
    Spans allowed;  ///< addresses that it may deliver to
    std::size_t max_criteria = 10'000;
    std::size_t max_destinations = 1'000;
    bool in_sequence = false;
    std::set<std::string> actions{};  ///< besides copy
};

struct DestinationSetup {
    std::string to;
    int to_port = 0;
    std::string from;
    int from_port = 0;
    int ttl = 255;
};

struct Setup {
    std::vector<SourceSetup> sources;
    std::map<std::string, DestinationSetup> destinations;
    Spans routes;
    std::vector<std::string> policies;
    /// Where frames come in, as "PORT.VLAN" in the port's index: of an input interface, an output interface,
    /// and a VRF.
    std::map<std::string, std::string> inputs;
    std::map<std::string, std::string> outputs;
    std::map<std::string, std::vector<std::string>> vrfs;
    std::size_t max_criteria = std::numeric_limits<std::size_t>::max();
};

const Setup& setup();
const lib::Config& setup_config();

/// "10.0.0.1" or "2001:db8::1".
std::string address_text(Wide value, int family);
/// The value and family of either; family 0: it is none.
std::pair<Wide, int> address_value(const std::string& text);

}  // namespace flowtap::test::model
