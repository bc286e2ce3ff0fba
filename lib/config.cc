#include "lib/config.h"

#include "lib/config_schema.h"
#include "lib/toml_text.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>

namespace flowtap::lib {
namespace {

constexpr std::uintmax_t largest_file = 16 * 1024 * 1024;

std::vector<ConfigError> whole_file(std::string_view name, std::string message) {
    return {{.file = std::string(name), .message = std::move(message)}};
}

/// The tables of a section: [section] has one, [[section]] any number. What is neither is an error.
std::vector<const toml::table*> tables_of(ConfigReader& reader, const ConfigSection& section,
                                          const toml::node& value) {
    if (!section.list) {
        if (const toml::table* table = value.as_table()) {
            return {table};
        }
        reader.error(value,
                     fmt::format("{} is not allowed here: a section [{}] is", describe(value), section.name));
        return {};
    }
    std::vector<const toml::table*> tables;
    const toml::array* list = value.as_array();
    if (list == nullptr) {
        reader.error(
            value, fmt::format("{} is not allowed here: sections [[{}]] are", describe(value), section.name));
        return {};
    }
    for (const toml::node& item : *list) {
        if (tables.size() == section.most) {
            reader.error(item, fmt::format("this is one [[{}]] too many: at most {} are possible",
                                           section.name, section.most));
            break;
        }
        if (const toml::table* table = item.as_table()) {
            tables.push_back(table);
        } else {
            reader.error(item, fmt::format("{} is not allowed here: sections [[{}]] are", describe(item),
                                           section.name));
        }
    }
    return tables;
}

void read_sections(ConfigReader& reader, const toml::table& document, Config& config) {
    std::vector<std::string_view> allowed;
    for (const ConfigSection& section : config_sections()) {
        allowed.push_back(section.name);
    }
    for (const auto& [key, value] : document) {
        if (std::ranges::find(allowed, key.str()) == allowed.end()) {
            reader.error(key.source(), unknown_key_message(key.str(), allowed, "the file"));
        }
    }
    for (const ConfigSection& section : config_sections()) {
        const toml::node* value = document.get(section.name);
        if (value == nullptr) {
            if (section.required) {
                reader.error(fmt::format(
                    "the section {} is missing: it is needed",
                    section.list ? fmt::format("[[{}]]", section.name) : fmt::format("[{}]", section.name)));
            }
            continue;
        }
        for (const toml::table* table : tables_of(reader, section, *value)) {
            reader.add_element(section.name, *table);
            section.read(reader, *table, config);
        }
    }
}

std::expected<std::string, std::string> read_file(const std::filesystem::path& file) {
    std::error_code failure;
    const auto status = std::filesystem::status(file, failure);
    if (failure) {
        return std::unexpected(failure.message());
    }
    if (!std::filesystem::is_regular_file(status)) {
        return std::unexpected(std::string("not a regular file"));
    }
    const auto size = std::filesystem::file_size(file, failure);
    if (failure || size > largest_file) {
        return std::unexpected(fmt::format("larger than {} bytes", largest_file));
    }
    errno = 0;
    std::ifstream stream(file, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (!stream.is_open() || stream.bad()) {
        return std::unexpected(std::string(std::strerror(errno)));
    }
    return text;
}

}  // namespace

std::string to_string(const ConfigError& error) {
    if (error.line == 0) {
        return fmt::format("{}: {}", error.file, error.message);
    }
    return fmt::format("{}:{}:{}: {}", error.file, error.line, error.column, error.message);
}

std::string to_string(const Endpoint& endpoint) {
    const bool v6 = endpoint.address.family == Family::ipv6;
    return fmt::format("{}{}{}:{}", v6 ? "[" : "", to_string(endpoint.address), v6 ? "]" : "", endpoint.port);
}

std::expected<Config, std::vector<ConfigError>> load_config(const std::filesystem::path& file) {
    const auto text = read_file(file);
    if (!text) {
        return std::unexpected(
            whole_file(file.native(), fmt::format("cannot read the configuration: {}", text.error())));
    }
    return parse_config(*text, file.native());
}

std::expected<Config, std::vector<ConfigError>> parse_config(std::string_view text, std::string_view name) {
    if (auto error = check_toml_text(text, name)) {
        return std::unexpected(std::vector{*std::move(error)});
    }
    const toml::parse_result document = toml::parse(text, name);
    if (!document) {
        const toml::parse_error& error = document.error();
        return std::unexpected(std::vector<ConfigError>{{.file = std::string(name),
                                                         .line = error.source().begin.line,
                                                         .column = error.source().begin.column,
                                                         .message = std::string(error.description())}});
    }
    Config config;
    config.file = name;
    config.ssh.host_keys = {"/etc/ssh/ssh_host_ed25519_key"};
    ConfigReader reader{std::string(name), config.file.parent_path()};
    read_sections(reader, document.table(), config);
    check_config(reader, config);
    if (auto errors = reader.take_errors(); !errors.empty()) {
        return std::unexpected(std::move(errors));
    }
    if (EVP_Digest(text.data(), text.size(), config.digest.data(), nullptr, EVP_sha256(), nullptr) != 1) {
        return std::unexpected(whole_file(name, "SHA-256 is not available"));
    }
    return config;
}

}  // namespace flowtap::lib
