// The kinds of value that the configuration has: what is allowed (as a phrase), how it is read, how it is
// written. Private to lib/config*.cc.
#pragma once

#include "lib/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace flowtap::lib {

template <typename Value>
struct ConfigType {
    std::string phrase;  ///< "a number, 1 to 32": stands in errors and in the reference
    /// The value; or nothing, and an error at the node.
    std::function<std::optional<Value>(ConfigReader&, const toml::node&)> read;
    /// As it would stand in the file.
    std::function<std::string(const Value&)> write;
};

/// "mtu is the string "x": a number, 64 to 9216, is needed" without the key, which the position shows.
void report_type(ConfigReader& reader, const toml::node& node, const std::string& phrase);

template <std::unsigned_integral Value>
ConfigType<Value> integer(Value least, Value most) {
    const std::string phrase = fmt::format("a number, {} to {}", least, most);
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<Value> {
                const auto* number = node.as_integer();
                if (number == nullptr || std::cmp_less(number->get(), least) ||
                    std::cmp_greater(number->get(), most)) {
                    report_type(reader, node, phrase);
                    return {};
                }
                return static_cast<Value>(number->get());
            },
            [](const Value& value) { return fmt::format("{}", value); }};
}

ConfigType<std::uint32_t> power_of_two(std::uint32_t least, std::uint32_t most);
ConfigType<bool> boolean();
ConfigType<double> seconds(double least, double most);
/// 1 to 63 printable ASCII characters, no blanks.
ConfigType<std::string> name_text();
/// Not empty, no control characters.
ConfigType<std::string> text(std::string phrase);
ConfigType<IpAddress> ip_address();
ConfigType<Prefix> ip_prefix();
/// An address, with its subnet's prefix length or alone.
ConfigType<InterfaceAddress> interface_address();
/// The name of a network interface of Linux.
ConfigType<std::string> interface_text();
/// Address and port of a UDP peer.
ConfigType<Endpoint> endpoint();
/// "0.7", as its minor version.
ConfigType<std::uint8_t> dtcp_version();
ConfigType<MacAddress> mac_address();
/// Relative to the configuration file's folder.
ConfigType<std::filesystem::path> folder();
/// The same; it must be there and be a regular file (where this process may look at all).
ConfigType<std::filesystem::path> existing_file();
/// The name of something in `names`, as its index there; `kind` is what it is.
ConfigType<std::uint16_t> reference(std::vector<std::string> ConfigReader::* names, std::string kind);

/// A VLAN id, 0 to 4094, or "any", which is any_vlan.
ConfigType<std::uint16_t> vlan_id();

/// One of some words.
template <typename Value>
ConfigType<Value> choice(std::vector<std::pair<std::string, Value>> words) {
    std::vector<std::string> texts;
    for (const auto& [word, value] : words) {
        texts.push_back(fmt::format("{:?}", word));
    }
    const std::string phrase = fmt::format("{}", fmt::join(texts, " or "));
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<Value> {
                const auto* text = node.as_string();
                for (const auto& [word, value] : words) {
                    if (text != nullptr && text->get() == word) {
                        return value;
                    }
                }
                report_type(reader, node, phrase);
                return {};
            },
            [=](const Value& wanted) {
                for (const auto& [word, value] : words) {
                    if (value == wanted) {
                        return fmt::format("{:?}", word);
                    }
                }
                return std::string{};
            }};
}

/// Every bad item is an error; then the whole is.
template <typename Item>
ConfigType<std::vector<Item>> list_of(ConfigType<Item> item, std::size_t fewest, std::size_t most) {
    const std::string phrase = fmt::format("a list of {} to {} items, each {}", fewest, most, item.phrase);
    return {phrase,
            [=](ConfigReader& reader, const toml::node& node) -> std::optional<std::vector<Item>> {
                const auto* array = node.as_array();
                if (array == nullptr || array->size() < fewest || array->size() > most) {
                    report_type(reader, node, phrase);
                    return {};
                }
                std::vector<Item> items;
                for (const toml::node& element : *array) {
                    if (auto value = item.read(reader, element)) {
                        items.push_back(std::move(*value));
                    }
                }
                return items;
            },
            [=](const std::vector<Item>& items) {
                std::vector<std::string> texts;
                for (const Item& value : items) {
                    texts.push_back(item.write(value));
                }
                return fmt::format("[{}]", fmt::join(texts, ", "));
            }};
}

/// A list; one item may stand alone. Every bad item is an error; then the whole is.
template <typename Item>
ConfigType<std::vector<Item>> one_or_more(ConfigType<Item> item, std::size_t most) {
    auto type = list_of(item, 1, most);
    const std::string phrase = fmt::format("{}, or {}", item.phrase, type.phrase);
    type.read = [=, list = type.read](ConfigReader& reader,
                                      const toml::node& node) -> std::optional<std::vector<Item>> {
        if (node.is_array()) {
            return list(reader, node);
        }
        auto value = item.read(reader, node);
        if (!value) {
            return {};
        }
        return std::vector<Item>{std::move(*value)};
    };
    type.phrase = phrase;
    return type;
}

}  // namespace flowtap::lib
