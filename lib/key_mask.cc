#include "lib/key_mask.h"

#include <fmt/format.h>

#include <algorithm>

namespace flowtap::lib {
namespace {

constexpr char mask = 'x';

bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

bool is_quote(char c) {
    return c == '"' || c == '\'';
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

/// Where the value of a line `NAME = VALUE` starts; npos when it is no such line.
std::size_t value_offset(std::string_view line, std::string_view name) {
    std::size_t at = 0;
    const auto skip_blanks = [&] {
        while (at < line.size() && is_blank(line[at])) {
            ++at;
        }
    };
    skip_blanks();
    for (const std::string_view token : {name, std::string_view("=")}) {
        if (!line.substr(at).starts_with(token)) {
            return std::string_view::npos;
        }
        at += token.size();
        skip_blanks();
    }
    return at;
}

/// A line that holds a key.
struct KeyLine {
    std::string_view name;  ///< empty: it holds none
    std::size_t value = 0;  ///< where its value starts
};

KeyLine key_line(std::string_view line) {
    for (const std::string_view name : key_names) {
        if (const std::size_t value = value_offset(line, name); value != std::string_view::npos) {
            return {name, value};
        }
    }
    return {};
}

}  // namespace

std::string key_form(std::string_view name) {
    return fmt::format("{} = \"HEX DIGITS\" on a line of its own", name);
}

std::optional<UnquotedKey> mask_keys(std::span<char> text) {
    std::optional<UnquotedKey> unquoted;
    std::size_t line_number = 1;
    for (std::size_t start = 0; start < text.size(); ++line_number) {
        const std::string_view rest(text.data() + start, text.size() - start);
        const std::string_view line = rest.substr(0, rest.find('\n'));
        if (const auto [name, value] = key_line(line); !name.empty()) {
            if (!unquoted && (value >= line.size() || !is_quote(line[value]))) {
                unquoted = {name, line_number, value + 1};
            }
            for (std::size_t i = start + value; i < start + line.size(); ++i) {
                const char c = text[i];
                if (!is_quote(c) && c != '#' && c != '\r' && !is_blank(c)) {
                    text[i] = mask;
                }
            }
        }
        start += line.size() + 1;
    }
    return unquoted;
}

std::optional<std::string_view> unmasked_key(std::string_view text, std::string_view name, std::size_t number,
                                             std::size_t column, std::string_view masked) {
    const std::string_view line = line_of(text, number);
    const std::size_t value = value_offset(line, name);
    const bool is_masked =
        std::ranges::all_of(masked, [](char c) { return c == mask || c == '#' || is_blank(c); });
    // The prefix of such a line is ASCII, so that the parser's column is a byte offset.
    if (value == std::string_view::npos || column != value + 1 || !is_masked ||
        line.size() < value + masked.size() + 2 || line[value + masked.size() + 1] != line[value]) {
        return std::nullopt;
    }
    return line.substr(value + 1, masked.size());
}

}  // namespace flowtap::lib
