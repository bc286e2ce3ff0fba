#include "lib/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

namespace flowtap::lib {
namespace {

/// Longer text of a file is cut in a message.
constexpr std::size_t longest_quote = 64;

/// Edit distance (insertions, deletions, substitutions); text beyond 64 characters is not looked at.
std::size_t distance(std::string_view left, std::string_view right) {
    left = left.substr(0, longest_quote);
    right = right.substr(0, longest_quote);
    std::vector<std::size_t> row(right.size() + 1);
    for (std::size_t j = 0; j <= right.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= left.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i);
        for (std::size_t j = 1; j <= right.size(); ++j) {
            const std::size_t changed = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
        }
    }
    return row.back();
}

}  // namespace

void ConfigReader::error(const toml::source_region& where, std::string message) {
    errors_.push_back({.file = file_,
                       .line = where.begin.line,
                       .column = where.begin.column,
                       .message = std::move(message)});
}

void ConfigReader::error(const toml::node& value, std::string message) {
    bad_.insert(&value);
    error(value.source(), std::move(message));
}

void ConfigReader::error(std::string message) {
    error(toml::source_region{}, std::move(message));
}

void ConfigReader::add_element(std::string_view section, const toml::table& element) {
    elements_[section].push_back(&element);
}

const toml::table* ConfigReader::element(std::string_view section, std::size_t index) const {
    const auto found = elements_.find(section);
    return found != elements_.end() && index < found->second.size() ? found->second[index] : nullptr;
}

const toml::node* ConfigReader::good(std::string_view section, std::size_t index,
                                     std::string_view key) const {
    const toml::table* table = element(section, index);
    const toml::node* value = table != nullptr ? table->get(key) : nullptr;
    return value != nullptr && !bad_.contains(value) ? value : nullptr;
}

bool ConfigReader::there(std::string_view section, std::size_t index, std::string_view key) const {
    const toml::table* table = element(section, index);
    return table != nullptr && table->contains(key);
}

const toml::source_region& ConfigReader::where(std::string_view section, std::size_t index,
                                               std::string_view key) const {
    static const toml::source_region whole_file{};
    const toml::table* table = element(section, index);
    if (table == nullptr) {
        return whole_file;
    }
    const toml::node* value = table->get(key);
    return value != nullptr ? value->source() : table->source();
}

std::vector<ConfigError> ConfigReader::take_errors() {
    std::ranges::stable_sort(errors_, {}, [](const ConfigError& e) { return std::tuple(e.line, e.column); });
    return std::move(errors_);
}

std::string line_text(const toml::source_region& where) {
    return fmt::format("line {}", where.begin.line);
}

std::string describe(const toml::node& value) {
    if (const auto* text = value.as_string()) {
        const std::string& content = text->get();
        return content.size() > longest_quote ? fmt::format("a string of {} bytes", content.size())
                                              : fmt::format("the string {:?}", content);
    }
    if (const auto* number = value.as_integer()) {
        return fmt::format("the number {}", number->get());
    }
    if (const auto* number = value.as_floating_point()) {
        return fmt::format("the number {}", number->get());
    }
    if (const auto* flag = value.as_boolean()) {
        return flag->get() ? "true" : "false";
    }
    if (value.is_table()) {
        return "a table";
    }
    return value.is_array() ? "a list" : "a date or time";
}

std::string unknown_key_message(std::string_view key, const std::vector<std::string_view>& allowed,
                                std::string_view where) {
    const auto nearest = std::ranges::min_element(
        allowed, {}, [key](std::string_view candidate) { return distance(key, candidate); });
    std::string hint;
    if (nearest != allowed.end() &&
        distance(key, *nearest) <= std::max<std::size_t>(2, nearest->size() / 3)) {
        hint = fmt::format(" (did you mean {:?}?)", *nearest);
    }
    return fmt::format("unknown key {:?} in {}{}: allowed are {}", key.substr(0, longest_quote), where, hint,
                       fmt::join(allowed, ", "));
}

std::string list_text(const std::vector<std::string>& items) {
    if (items.size() < 2) {
        return items.empty() ? "none" : items.front();
    }
    const auto last = items.end() - 1;
    return fmt::format("{} and {}", fmt::join(items.begin(), last, ", "), *last);
}

}  // namespace flowtap::lib
