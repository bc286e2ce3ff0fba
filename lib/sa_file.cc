#include "lib/sa_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace flowtap::lib {
namespace {

constexpr char mask = 'x';
constexpr std::string_view key_form = "key = \"HEX DIGITS\" on a line of its own";

bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

std::string_view as_text(const SecretBytes& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Line `number` (from 1) of the text, without its end; empty past the end.
std::string_view line_of(std::string_view text, std::size_t number) {
    for (; number > 1; --number) {
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) {
            return {};
        }
        text.remove_prefix(end + 1);
    }
    return text.substr(0, text.find('\n'));
}

/// Where the value of a line `key = VALUE` starts; npos when it is no such line.
std::size_t key_value_offset(std::string_view line) {
    std::size_t at = 0;
    const auto skip_blanks = [&] {
        while (at < line.size() && is_blank(line[at])) {
            ++at;
        }
    };
    skip_blanks();
    for (const std::string_view token : {std::string_view("key"), std::string_view("=")}) {
        if (!line.substr(at).starts_with(token)) {
            return std::string_view::npos;
        }
        at += token.size();
        skip_blanks();
    }
    return at;
}

/// Overwrites the value of every line `key = VALUE`, so that nothing of a key is left in the text. Layout,
/// and with it every line and column, stays. False: a value has no quotes, and what is left may not be TOML;
/// `at` says where.
bool mask_keys(std::span<char> text, toml::source_position& at) {
    bool quoted = true;
    toml::source_index line_number = 1;
    for (std::size_t start = 0; start < text.size(); ++line_number) {
        const std::string_view rest(text.data() + start, text.size() - start);
        const std::string_view line = rest.substr(0, rest.find('\n'));
        if (const std::size_t value = key_value_offset(line); value != std::string_view::npos) {
            if (quoted && !line.substr(value).starts_with('"') && !line.substr(value).starts_with('\'')) {
                quoted = false;
                at = {line_number, static_cast<toml::source_index>(value + 1)};
            }
            for (std::size_t i = start + value; i < start + line.size(); ++i) {
                const char c = text[i];
                if (c != '"' && c != '\'' && c != '#' && c != '\r' && !is_blank(c)) {
                    text[i] = mask;
                }
            }
        }
        start += line.size() + 1;
    }
    return quoted;
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
    void read_key(const toml::table& table);
    std::string_view key_digits(const toml::node& node, const toml::value<std::string>& masked);

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

/// The key's text in the original, which the parser saw masked; complains and returns nothing when it is
/// written in a way that the mask does not understand.
std::string_view Reader::key_digits(const toml::node& node, const toml::value<std::string>& masked) {
    const toml::source_position at = node.source().begin;
    const std::string_view line = line_of(text_, at.line);
    const std::size_t value = key_value_offset(line);
    const std::string& seen = masked.get();
    const bool is_masked =
        std::ranges::all_of(seen, [](char c) { return c == mask || c == '#' || is_blank(c); });
    // The prefix of such a line is ASCII, so that the parser's column is a byte offset.
    if (value == std::string_view::npos || at.column != value + 1 || !is_masked ||
        line.size() < value + seen.size() + 2 || line[value + seen.size() + 1] != line[value]) {
        complain(at, fmt::format("the key has to be written as {}", key_form));
        return {};
    }
    return line.substr(value + 1, seen.size());
}

void Reader::read_key(const toml::table& table) {
    const std::string right =
        suite_ == nullptr
            ? fmt::format("it has to be {}", key_form)
            : fmt::format("{} needs {} hexadecimal digits: {} bytes of key, then {} bytes of salt",
                          suite_->name, 2 * (suite_->key_size + suite_->salt_size), suite_->key_size,
                          suite_->salt_size);
    const toml::node* const node = table.get("key");
    if (node == nullptr) {
        complain(fmt::format("no key; {}", right));
        return;
    }
    const auto* const masked = node->as_string();
    if (masked == nullptr) {
        complain(node->source().begin, fmt::format("the key is not a string; {}", right));
        return;
    }
    const std::size_t errors_before = errors_.size();
    const std::string_view digits = key_digits(*node, *masked);
    if (errors_.size() != errors_before || suite_ == nullptr) {
        return;
    }
    auto key = SecretBytes::from_hex(digits);
    if (!key) {
        complain(node->source().begin, fmt::format("key: {}; {}", key.error(), right));
    } else if (key->size() != suite_->key_size + suite_->salt_size) {
        complain(node->source().begin, fmt::format("the key has {} digits; {}", digits.size(), right));
    } else if (std::ranges::all_of(key->bytes().first(suite_->key_size),
                                   [first = key->bytes()[0]](std::uint8_t b) { return b == first; })) {
        complain(node->source().begin, "the key repeats one byte; it has to be random (openssl rand -hex)");
    } else {
        sa_.key = std::move(*key);
    }
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
    toml::source_position unquoted{};
    if (!mask_keys({reinterpret_cast<char*>(copy->data()), copy->size()}, unquoted)) {
        complain(unquoted, fmt::format("the key has to be written as {}", key_form));
        return std::unexpected(std::move(errors_));
    }
    const toml::parse_result parsed = toml::parse(as_text(*copy));
    if (!parsed) {
        complain(parsed.error().source().begin, std::string(parsed.error().description()));
        return std::unexpected(std::move(errors_));
    }
    for (const auto& [name, node] : parsed.table()) {
        if (name != "spi" && name != "suite" && name != "key") {
            complain(name.source().begin,
                     fmt::format("\"{}\" is unknown here; spi, suite and key are known", name.str()));
        }
    }
    read_spi(parsed.table());
    read_suite(parsed.table());
    read_key(parsed.table());
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
