// The schema of the configuration: one table of sections and keys, from which the file is read, the errors
// list what is allowed, and the reference is written. Private to lib/config*.cc.
#pragma once

#include "lib/config_reader.h"
#include "lib/config_types.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::lib {

/// One key of a section, whatever the section is.
struct KeyInfo {
    std::string_view name;
    std::string phrase;    ///< what is allowed
    std::string fallback;  ///< what holds when it is missing; empty: it must be there
    std::string_view description;
};

template <typename Section>
struct ConfigKey {
    KeyInfo info;
    std::function<void(ConfigReader&, const toml::node&, Section&)> read;
};

/// A key whose default is the member's initial value.
template <typename Section, typename Value>
ConfigKey<Section> optional_key(std::string_view name, Value Section::* member, ConfigType<Value> type,
                                std::string_view description) {
    const std::string fallback = type.write(Section{}.*member);
    return {{name, type.phrase, fallback, description},
            [=](ConfigReader& reader, const toml::node& node, Section& section) {
                if (auto value = type.read(reader, node)) {
                    section.*member = std::move(*value);
                }
            }};
}

/// A key whose default has to be said in words.
template <typename Section, typename Member, typename Value>
ConfigKey<Section> optional_key(std::string_view name, Member Section::* member, ConfigType<Value> type,
                                std::string_view description, std::string fallback) {
    return {{name, type.phrase, std::move(fallback), description},
            [=](ConfigReader& reader, const toml::node& node, Section& section) {
                if (auto value = type.read(reader, node)) {
                    section.*member = std::move(*value);
                }
            }};
}

template <typename Section, typename Value>
ConfigKey<Section> required_key(std::string_view name, Value Section::* member, ConfigType<Value> type,
                                std::string_view description) {
    return optional_key(name, member, std::move(type), description, std::string());
}

/// Reads a table by its keys: unknown ones, missing ones and bad values are errors.
template <typename Section>
void read_section(ConfigReader& reader, const toml::table& table, std::string_view where,
                  const std::vector<ConfigKey<Section>>& keys, Section& section) {
    std::vector<std::string_view> allowed;
    for (const auto& key : keys) {
        allowed.push_back(key.info.name);
    }
    for (const auto& [key, value] : table) {
        if (std::ranges::find(allowed, key.str()) == allowed.end()) {
            reader.error(key.source(), unknown_key_message(key.str(), allowed, where));
        }
    }
    for (const auto& key : keys) {
        if (const toml::node* value = table.get(key.info.name)) {
            key.read(reader, *value, section);
        } else if (key.info.fallback.empty()) {
            reader.error(table.source(),
                         fmt::format("{} lacks {:?}: {}", where, key.info.name, key.info.phrase));
        }
    }
}

/// One section: `[name]`, or a list of `[[name]]`.
struct ConfigSection {
    std::string_view name;
    bool list = false;
    bool required = false;  ///< a list: at least one
    std::size_t most = 1;   ///< elements of a list
    std::string_view description;
    std::vector<KeyInfo> keys{};
    std::function<void(ConfigReader&, const toml::table&, Config&)> read{};  ///< one element
};

/// All sections, in the order in which they have to be read.
const std::vector<ConfigSection>& config_sections();

/// What only several values together can get wrong: names, ports used twice, routes, families.
void check_config(ConfigReader& reader, const Config& config);
/// The part of it that is about the delivery port's interface and next hops.
void check_delivery(ConfigReader& reader, const Config& config);

}  // namespace flowtap::lib
