#include "test/unit/control/model_setup.h"

#include "test/unit/control/site.h"

#include <arpa/inet.h>
#include <array>
#include <stdexcept>
#include <string_view>

namespace flowtap::test::model {

namespace {

constexpr std::string_view sources_text = R"(
[control]
max-criteria = 14

[[source]]
name = "a"
key-file = "/etc/passwd"
destinations = ["192.0.2.0/28", "2001:db8:f::/64"]
max-criteria = 6
max-destinations = 3
[[source]]
name = "b"
key-file = "/etc/passwd"
users = ["b", "officer"]
destinations = ["192.0.2.64/26"]
actions = ["redirect", "block"]
[[source]]
name = "c"
key-file = "/etc/passwd"
users = ["c", "officer"]
destinations = ["192.0.2.0/24"]
max-criteria = 5
ssh-sequence = "session"
actions = ["block"]
)";

Span prefix(const std::string& first, const std::string& last) {
    const auto [low, family] = address_value(first);
    return {.first = low, .last = address_value(last).first, .family = family};
}

}  // namespace

const lib::Config& setup_config() {
    static const lib::Config config = site_with(sources_text);
    return config;
}

const Setup& setup() {
    static const Setup known{
        .sources = {{"a",
                     {"a"},
                     {prefix("192.0.2.0", "192.0.2.15"),
                      prefix("2001:db8:f::", "2001:db8:f:0:ffff:ffff:ffff:ffff")},
                     6,
                     3},
                    {"b",
                     {"b", "officer"},
                     {prefix("192.0.2.64", "192.0.2.127")},
                     10'000,
                     1'000,
                     false,
                     {"redirect", "block"}},
                    {"c", {"c", "officer"}, {prefix("192.0.2.0", "192.0.2.255")}, 5, 1'000, true, {"block"}}},
        .destinations = {{"known", {"192.0.2.7", 7007, "192.0.2.100", 7008}},
                         {"theirs", {"192.0.2.77", 7007, "192.0.2.100", 7008}}},
        .routes = {prefix("192.0.2.0", "192.0.2.255"),
                   prefix("2001:db8:f::", "2001:db8:f:ffff:ffff:ffff:ffff:ffff")},
        .policies = {"web", "dns", "v6"},
        .inputs =
            {{"ge-0", "0.0"}, {"ge-0.100", "0.100"}, {"ge-7.3", "1.700"}, {"trunk", "0.any"}, {"b.5", "1.5"}},
        .outputs =
            {{"ge-0", "1.0"}, {"ge-0.100", "1.100"}, {"ge-7.3", "0.700"}, {"trunk", "1.any"}, {"b.5", "0.5"}},
        .vrfs = {{"red", {"0.100", "1.100", "1.0", "0.0"}}},
        .max_criteria = 14};
    return known;
}

std::string address_text(Wide value, int family) {
    std::array<unsigned char, 16> bytes{};
    const std::size_t size = family == 4 ? 4 : 16;
    for (std::size_t i = 0; i < size; ++i) {
        bytes[size - 1 - i] = static_cast<unsigned char>(value >> (8 * i));
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes.data(), text.data(), text.size());
    return text.data();
}

std::pair<Wide, int> address_value(const std::string& text) {
    std::array<unsigned char, 16> bytes{};
    const int family = text.find(':') == std::string::npos ? 4 : 6;
    if (::inet_pton(family == 4 ? AF_INET : AF_INET6, text.c_str(), bytes.data()) != 1) {
        return {0, 0};
    }
    Wide value = 0;
    for (std::size_t i = 0; i < (family == 4 ? 4U : 16U); ++i) {
        value = value << 8 | bytes[i];
    }
    return {value, family};
}

}  // namespace flowtap::test::model
