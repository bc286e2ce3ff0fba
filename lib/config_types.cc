#include "lib/config_types.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <expected>
#include <system_error>

namespace flowtap::lib {
namespace {

/// A type that is written as a TOML string and parsed by `parse`, whose error says what would be right.
template <typename Value, typename Parse, typename Write>
ConfigType<Value> parsed_string(std::string phrase, Parse parse, Write write) {
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<Value> {
                const auto* string = node.as_string();
                if (string == nullptr) {
                    report_type(reader, node, phrase);
                    return {};
                }
                auto value = parse(string->get());
                if (!value) {
                    reader.error(node, value.error());
                    return {};
                }
                return std::move(*value);
            },
            [=](const Value& value) { return fmt::format("{:?}", write(value)); }};
}

/// A string whose characters all pass.
ConfigType<std::string> checked_string(std::string phrase, std::size_t longest, bool (*allowed)(char)) {
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<std::string> {
                const auto* string = node.as_string();
                if (string == nullptr || string->get().empty() || string->get().size() > longest ||
                    !std::ranges::all_of(string->get(), allowed)) {
                    report_type(reader, node, phrase);
                    return {};
                }
                return string->get();
            },
            [](const std::string& value) { return fmt::format("{:?}", value); }};
}

bool is_graphic(char c) {
    return c > ' ' && c <= '~';
}

bool is_printable(char c) {
    return c == ' ' || is_graphic(c);
}

/// "A:port" or "[A]:port".
std::expected<Endpoint, std::string> parse_endpoint(std::string_view text) {
    const auto wrong = [&] {
        return std::unexpected{
            fmt::format("{:?} is no address with a port: such as \"192.0.2.1:1814\" or "
                        "\"[2001:db8::1]:1814\" is needed",
                        text)};
    };
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon + 1 == text.size()) {
        return wrong();
    }
    auto host = text.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) {
        host = host.substr(1, host.size() - 2);
    }
    const auto address = parse_address(host);
    Endpoint endpoint;
    const auto [end, error] =
        std::from_chars(text.data() + colon + 1, text.data() + text.size(), endpoint.port);
    if (!address || bracketed != (address->family == Family::ipv6) || error != std::errc{} ||
        end != text.data() + text.size() || endpoint.port == 0) {
        return wrong();
    }
    endpoint.address = *address;
    return endpoint;
}

constexpr std::size_t longest_name = 63;
constexpr std::size_t longest_text = 1024;

}  // namespace

void report_type(ConfigReader& reader, const toml::node& node, const std::string& phrase) {
    reader.error(node, fmt::format("{} is not allowed here: {} is", describe(node), phrase));
}

ConfigType<std::uint32_t> power_of_two(std::uint32_t least, std::uint32_t most) {
    auto type = integer<std::uint32_t>(least, most);
    type.phrase = fmt::format("a power of two, {} to {}", least, most);
    type.read = [phrase = type.phrase, least, most](ConfigReader& reader,
                                                    const toml::node& node) -> std::optional<std::uint32_t> {
        const auto* number = node.as_integer();
        if (number == nullptr || number->get() < least || number->get() > most ||
            !std::has_single_bit(static_cast<std::uint64_t>(number->get()))) {
            report_type(reader, node, phrase);
            return {};
        }
        return static_cast<std::uint32_t>(number->get());
    };
    return type;
}

ConfigType<bool> boolean() {
    return {"true or false",
            [](ConfigReader& reader, const toml::node& node) -> std::optional<bool> {
                const auto* flag = node.as_boolean();
                if (flag == nullptr) {
                    report_type(reader, node, "true or false");
                    return {};
                }
                return flag->get();
            },
            [](const bool& value) { return value ? "true" : "false"; }};
}

ConfigType<double> seconds(double least, double most) {
    const std::string phrase = fmt::format("a number of seconds, {} to {}", least, most);
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<double> {
                const auto number = node.is_number() ? node.value<double>() : std::nullopt;
                if (!number || !(*number >= least && *number <= most)) {
                    report_type(reader, node, phrase);
                    return {};
                }
                return number;
            },
            [](const double& value) { return fmt::format("{:.1f}", value); }};
}

ConfigType<std::string> name_text() {
    return checked_string(
        fmt::format("a name of 1 to {} printable ASCII characters without blanks", longest_name),
        longest_name, is_graphic);
}

ConfigType<std::string> text(std::string phrase) {
    return checked_string(std::move(phrase), longest_text, is_printable);
}

ConfigType<IpAddress> ip_address() {
    return parsed_string<IpAddress>(
        "an IPv4 or IPv6 address in quotes", [](std::string_view s) { return parse_address(s); },
        [](const IpAddress& value) { return to_string(value); });
}

ConfigType<Prefix> ip_prefix() {
    return parsed_string<Prefix>(
        "a prefix in quotes such as \"192.0.2.0/24\"", [](std::string_view s) { return parse_prefix(s); },
        [](const Prefix& value) { return to_string(value); });
}

ConfigType<InterfaceAddress> interface_address() {
    return parsed_string<InterfaceAddress>(
        "an address in quotes, with its subnet's prefix length or alone, such as \"192.0.2.1/24\"",
        [](std::string_view s) { return parse_interface_address(s); },
        [](const InterfaceAddress& value) { return to_string(value); });
}

ConfigType<std::string> interface_text() {
    constexpr std::size_t longest = 15;  // IFNAMSIZ, less the final zero
    return checked_string(
        fmt::format("a name of 1 to {} printable ASCII characters without blanks, /, : and %", longest),
        longest, [](char c) { return is_graphic(c) && c != '/' && c != ':' && c != '%'; });
}

ConfigType<std::uint16_t> vlan_id() {
    const auto number = integer<std::uint16_t>(0, 4094);
    const std::string phrase = number.phrase + R"(, or "any")";
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<std::uint16_t> {
                const auto* text = node.as_string();
                if (text != nullptr && text->get() == "any") {
                    return any_vlan;
                }
                if (text != nullptr) {
                    report_type(reader, node, phrase);
                    return {};
                }
                return number.read(reader, node);
            },
            [](const std::uint16_t& value) {
                return value == any_vlan ? std::string{R"("any")"} : fmt::format("{}", value);
            }};
}

ConfigType<Endpoint> endpoint() {
    return parsed_string<Endpoint>(
        "an address with a port in quotes, such as \"192.0.2.1:1814\" or \"[2001:db8::1]:1814\"",
        parse_endpoint, [](const Endpoint& value) { return to_string(value); });
}

ConfigType<std::uint8_t> dtcp_version() {
    constexpr std::array<std::string_view, 4> versions{"0.5", "0.6", "0.7", "0.8"};
    constexpr std::uint8_t first = 5;
    const std::string phrase = R"("0.5", "0.6", "0.7" or "0.8")";
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<std::uint8_t> {
                const auto* text = node.as_string();
                const auto* const found =
                    text == nullptr ? versions.end() : std::ranges::find(versions, text->get());
                if (found == versions.end()) {
                    report_type(reader, node, phrase);
                    return {};
                }
                return static_cast<std::uint8_t>(first + (found - versions.begin()));
            },
            [](const std::uint8_t& value) { return fmt::format("\"0.{}\"", value); }};
}

ConfigType<MacAddress> mac_address() {
    return parsed_string<MacAddress>(
        "a MAC address in quotes such as \"02:00:00:00:00:01\"",
        [](std::string_view s) { return parse_mac(s); },
        [](const MacAddress& value) { return to_string(value); });
}

ConfigType<std::filesystem::path> folder() {
    const ConfigType<std::string> type = text("a path in quotes");
    return {type.phrase,
            [type](ConfigReader& reader, const toml::node& node) -> std::optional<std::filesystem::path> {
                const auto path = type.read(reader, node);
                if (!path) {
                    return {};
                }
                return reader.resolve(*path);
            },
            [](const std::filesystem::path& value) { return fmt::format("{:?}", value.native()); }};
}

ConfigType<std::filesystem::path> existing_file() {
    auto type = folder();
    type.phrase = "the path of a file in quotes";
    type.read = [any = type.read](ConfigReader& reader,
                                  const toml::node& node) -> std::optional<std::filesystem::path> {
        auto path = any(reader, node);
        if (!path) {
            return {};
        }
        std::error_code failure;
        const auto status = std::filesystem::status(*path, failure);
        // Each process reads the whole file, but not each may look at every file that it names.
        if (failure == std::errc::permission_denied || std::filesystem::is_regular_file(status)) {
            return path;
        }
        reader.error(
            node, fmt::format("{} {}: the path of a file is needed (a relative one begins at the "
                              "configuration's folder)",
                              path->native(),
                              std::filesystem::exists(status) ? "is not a regular file" : "does not exist"));
        return {};
    };
    return type;
}

ConfigType<std::uint16_t> reference(std::vector<std::string> ConfigReader::* names, std::string kind) {
    const std::string phrase = fmt::format("the name of a {} of this file", kind);
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<std::uint16_t> {
                const auto* name = node.as_string();
                if (name == nullptr) {
                    report_type(reader, node, phrase);
                    return {};
                }
                const auto& known = reader.*names;
                const auto found = std::ranges::find(known, name->get());
                if (name->get().empty() || found == known.end()) {
                    reader.error(node, fmt::format("{} is not the name of a {}: there are {}", describe(node),
                                                   kind, list_text(known)));
                    return {};
                }
                return static_cast<std::uint16_t>(found - known.begin());
            },
            [](const std::uint16_t& value) { return fmt::format("{}", value); }};
}

}  // namespace flowtap::lib
