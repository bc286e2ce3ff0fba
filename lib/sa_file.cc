#include "lib/sa_file.h"

#include "lib/key_mask.h"
#include "lib/sa_lifetime_keys.h"
#include "lib/weak_keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

namespace flowtap::lib {
namespace {

std::vector<std::string> known_names() {
    std::vector<std::string> names{"spi",
                                   "suite",
                                   "key",
                                   "authentication-key",
                                   "extended-sequence-numbers",
                                   "udp-encapsulation",
                                   "padded-length"};
    std::ranges::copy(lifetime_keys(), std::back_inserter(names));
    return names;
}

constexpr std::int64_t shortest_padded = 64;
constexpr std::int64_t longest_padded = 9198;  // the longest packet that a delivery port sends

std::string_view as_text(const SecretBytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Where the first byte stands that is not ASCII. toml++ 3.3 computes with undefined behaviour on some
/// characters beyond (is_non_ascii_horizontal_whitespace), and nothing in such a file needs any.
std::optional<toml::source_position> first_non_ascii(std::string_view text) {
    const auto found =
        std::ranges::find_if(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
    if (found == text.end()) {
        return std::nullopt;
    }
    const std::string_view before(text.begin(), found);
    const auto line = static_cast<toml::source_index>(std::ranges::count(before, '\n') + 1);
    const std::size_t line_end = before.rfind('\n');
    const std::size_t line_start = line_end == std::string_view::npos ? 0 : line_end + 1;
    return toml::source_position{line, static_cast<toml::source_index>(before.size() - line_start + 1)};
}

/// One reading of one file.
class Reader {
  public:
    Reader(std::string_view text, std::string_view name) : text_(text), name_(name) {}

    std::expected<StaticSa, std::vector<ConfigError>> read();

  private:
    void complain(const toml::source_position& at, std::string message) {
        errors_.push_back({std::string(name_), at.line, at.column, std::move(message)});
    }
    void complain(std::string message) { complain({0, 0}, std::move(message)); }

    void read_spi(const toml::table& table);
    void read_suite(const toml::table& table);
    void read_keys(const toml::table& table);
    /// The bytes of one key; empty when there is an error, which was reported.
    SecretBytes read_key(const toml::table& table, std::string_view name, std::size_t size,
                         const std::string& right);
    void check_keys(const toml::table& table, const SecretBytes& cipher, const SecretBytes& authentication);
    bool read_flag(const toml::table& table, std::string_view name);
    void read_extended_sequence(const toml::table& table);
    void read_padded_length(const toml::table& table);

    std::string_view text_;
    std::string_view name_;
    std::vector<ConfigError> errors_;
    StaticSa sa_;
    const SuiteInfo* suite_ = nullptr;
};

void Reader::read_spi(const toml::table& table) {
    constexpr std::string_view right = "spi has to be an integer from 256 to 4294967295";
    const toml::node* const node = table.get("spi");
    if (node == nullptr) {
        complain(fmt::format("no spi; {}", right));
        return;
    }
    const auto value = node->value_exact<std::int64_t>();
    if (!value) {
        complain(node->source().begin, std::string(right));
    } else if (*value < std::int64_t{first_spi} || *value > std::int64_t{UINT32_MAX}) {
        complain(node->source().begin, fmt::format("spi is {}; {}", *value, right));
    } else {
        sa_.spi = static_cast<Spi>(*value);
    }
}

void Reader::read_suite(const toml::table& table) {
    std::vector<std::string_view> names;
    for (const SuiteInfo& info : suites) {
        names.push_back(info.name);
    }
    const std::string right = fmt::format("suite has to be one of \"{}\"", fmt::join(names, "\", \""));
    const toml::node* const node = table.get("suite");
    if (node == nullptr) {
        complain(fmt::format("no suite; {}", right));
        return;
    }
    const auto* const name = node->as_string();
    suite_ = name != nullptr ? find_suite(std::string_view(name->get())) : nullptr;
    if (suite_ == nullptr) {
        complain(node->source().begin, right);
        return;
    }
    sa_.suite = suite_->suite;
}

SecretBytes Reader::read_key(const toml::table& table, std::string_view name, std::size_t size,
                             const std::string& right) {
    const toml::node* const node = table.get(name);
    if (node == nullptr) {
        complain(fmt::format("no {}; {}", name, right));
        return {};
    }
    const auto* const masked = node->as_string();
    if (masked == nullptr) {
        complain(node->source().begin, fmt::format("the key is not a string; {}", right));
        return {};
    }
    const toml::source_position at = node->source().begin;
    const auto digits = unmasked_key(text_, name, at.line, at.column, masked->get());
    if (!digits) {
        complain(at, fmt::format("the key has to be written as {}", key_form(name)));
        return {};
    }
    if (suite_ == nullptr) {
        return {};
    }
    auto key = SecretBytes::from_hex(*digits);
    if (!key) {
        complain(node->source().begin, fmt::format("{}: {}; {}", name, key.error(), right));
    } else if (key->size() != size) {
        complain(node->source().begin, fmt::format("the key has {} digits; {}", digits->size(), right));
    } else {
        return std::move(*key);
    }
    return {};
}

/// Both are as long as they should be, or empty where they were refused already.
void Reader::check_keys(const toml::table& table, const SecretBytes& cipher,
                        const SecretBytes& authentication) {
    const auto refuse = [&](std::string_view name, const std::string& weakness) {
        if (!weakness.empty()) {
            complain(table.get(name)->source().begin,
                     fmt::format("{}; it has to be random (openssl rand -hex)", weakness));
        }
    };
    if (!cipher.empty()) {
        refuse("key", cipher_key_weakness(*suite_, cipher.bytes().first(suite_->cipher_key_size)));
    }
    if (!authentication.empty()) {
        refuse("authentication-key", pattern_weakness(authentication.bytes()));
    }
    const std::size_t shorter = std::min(cipher.size(), authentication.size());
    if (shorter != 0 &&
        std::ranges::equal(cipher.bytes().first(shorter), authentication.bytes().first(shorter))) {
        refuse("authentication-key", "the key is that of the cipher, too");
    }
}

void Reader::read_keys(const toml::table& table) {
    if (suite_ == nullptr) {
        const std::string right = fmt::format("it has to be {}", key_form("key"));
        static_cast<void>(read_key(table, "key", 0, right));
        return;
    }
    const std::size_t size = std::size_t{suite_->cipher_key_size} + suite_->salt_size;
    const std::string salt =
        suite_->salt_size == 0 ? "" : fmt::format(", then {} bytes of salt", suite_->salt_size);
    const auto key = read_key(table, "key", size,
                              fmt::format("{} needs {} hexadecimal digits: {} bytes of key{}", suite_->name,
                                          2 * size, suite_->cipher_key_size, salt));
    const std::string_view name = "authentication-key";
    if (suite_->combined()) {
        if (const toml::node* const node = table.get(name); node != nullptr) {
            complain(
                node->source().begin,
                fmt::format("{} authenticates by its one key; {} has to be left out", suite_->name, name));
        }
    }
    const auto authentication =
        suite_->combined()
            ? SecretBytes{}
            : read_key(
                  table, name, suite_->authentication_key_size,
                  fmt::format("{} needs {} hexadecimal digits: {} bytes of authentication key", suite_->name,
                              2 * suite_->authentication_key_size, suite_->authentication_key_size));
    check_keys(table, key, authentication);
    if (!errors_.empty()) {
        return;
    }
    auto both = SecretBytes::allocate(suite_->key_material_size());
    if (!both) {
        complain(both.error());
        return;
    }
    std::ranges::copy(key.bytes(), both->data());
    std::ranges::copy(authentication.bytes(), both->data() + key.size());
    sa_.key = std::move(*both);
}

bool Reader::read_flag(const toml::table& table, std::string_view name) {
    const toml::node* const node = table.get(name);
    if (node == nullptr) {
        return false;
    }
    const auto value = node->value_exact<bool>();
    if (!value) {
        complain(node->source().begin, fmt::format("{} has to be true or false", name));
    }
    return value.value_or(false);
}

/// With 64-bit blocks an SA must end long before its 32-bit numbers do (lib/suite.h: block_limit): more of
/// them are asked for by mistake.
void Reader::read_extended_sequence(const toml::table& table) {
    constexpr std::string_view name = "extended-sequence-numbers";
    sa_.extended_sequence = read_flag(table, name);
    if (sa_.extended_sequence && suite_ != nullptr && suite_->cipher == Cipher::triple_des_cbc) {
        complain(table.get(name)->source().begin,
                 fmt::format("{} has 64-bit blocks, too few for so many packets under one key; {} has to be "
                             "left out, or another suite taken",
                             suite_->name, name));
    }
}

void Reader::read_padded_length(const toml::table& table) {
    const toml::node* const node = table.get("padded-length");
    if (node == nullptr) {
        return;
    }
    const auto value = node->value_exact<std::int64_t>();
    if (!value || *value < shortest_padded || *value > longest_padded) {
        complain(node->source().begin, fmt::format("padded-length has to be an integer from {} to {}",
                                                   shortest_padded, longest_padded));
        return;
    }
    sa_.padded_length = static_cast<std::uint16_t>(*value);
}

std::expected<StaticSa, std::vector<ConfigError>> Reader::read() {
    if (const auto at = first_non_ascii(text_)) {
        complain(*at, "a character beyond ASCII; this file, comments too, has to be plain ASCII");
        return std::unexpected(std::move(errors_));
    }
    auto copy = SecretBytes::copy_of({reinterpret_cast<const std::uint8_t*>(text_.data()), text_.size()});
    if (!copy) {
        complain(copy.error());
        return std::unexpected(std::move(errors_));
    }
    if (const auto unquoted = mask_keys({reinterpret_cast<char*>(copy->data()), copy->size()})) {
        complain({static_cast<toml::source_index>(unquoted->line),
                  static_cast<toml::source_index>(unquoted->column)},
                 fmt::format("the key has to be written as {}", key_form(unquoted->name)));
        return std::unexpected(std::move(errors_));
    }
    const toml::parse_result parsed = toml::parse(as_text(*copy));
    if (!parsed) {
        complain(parsed.error().source().begin, std::string(parsed.error().description()));
        return std::unexpected(std::move(errors_));
    }
    const auto known = known_names();
    for (const auto& [name, node] : parsed.table()) {
        if (std::ranges::find(known, name.str()) == known.end()) {
            complain(name.source().begin,
                     fmt::format("\"{}\" is unknown here; {} are known", name.str(), fmt::join(known, ", ")));
        }
    }
    read_spi(parsed.table());
    read_suite(parsed.table());
    read_keys(parsed.table());
    read_extended_sequence(parsed.table());
    sa_.udp_encapsulation = read_flag(parsed.table(), "udp-encapsulation");
    read_padded_length(parsed.table());
    if (suite_ != nullptr) {
        sa_.lifetimes =
            read_lifetimes(parsed.table(), longest_life(*suite_, sa_.extended_sequence),
                           [this](const auto& at, std::string message) { complain(at, std::move(message)); });
    }
    if (!errors_.empty()) {
        return std::unexpected(std::move(errors_));
    }
    return std::move(sa_);
}

}  // namespace

std::expected<StaticSa, std::vector<ConfigError>> parse_sa_file(std::string_view text,
                                                                std::string_view name) {
    return Reader(text, name).read();
}

std::expected<StaticSa, std::vector<ConfigError>> load_sa_file(const std::filesystem::path& file) {
    const auto text = read_secret_file(file);
    if (!text) {
        return std::unexpected(std::vector<ConfigError>{{file.string(), 0, 0, text.error()}});
    }
    return parse_sa_file(as_text(*text), file.string());
}

}  // namespace flowtap::lib
