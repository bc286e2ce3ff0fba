#include "lib/dtcp/line.h"

#include "lib/dtcp/escape.h"
#include "lib/dtcp/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>

namespace flowtap::lib::dtcp {
namespace {

enum : std::uint8_t { control = 1, beyond_ascii = 2, name_byte = 4 };

/// What each byte is: one load a byte, so that a line is judged in one pass.
constexpr auto classes = [] {
    std::array<std::uint8_t, 256> table{};
    for (std::size_t byte = 0; byte < table.size(); ++byte) {
        const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        const bool digit = byte >= '0' && byte <= '9';
        if (byte >= 0x80) {
            table[byte] = beyond_ascii;
        } else if ((byte < ' ' && byte != '\t') || byte == 0x7f) {
            table[byte] = control;
        } else if (letter || digit || byte == '-' || byte == '_' || byte == '.') {
            table[byte] = name_byte;
        }
    }
    return table;
}();

constexpr std::uint8_t class_of(char byte) {
    return classes[static_cast<std::uint8_t>(byte)];
}

std::optional<std::uint16_t> saturated(std::string_view digits) {
    if (digits.empty() || digits.size() > 8 ||
        !std::ranges::all_of(digits, [](char byte) { return byte >= '0' && byte <= '9'; })) {
        return std::nullopt;
    }
    std::uint32_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return static_cast<std::uint16_t>(
        std::min<std::uint32_t>(number, std::numeric_limits<std::uint16_t>::max()));
}

}  // namespace

Line take_line(std::string_view& rest) {
    const auto line_end = rest.find('\n');
    Line line{rest.substr(0, line_end), line_end != std::string_view::npos};
    rest.remove_prefix(line.ended ? line_end + 1 : rest.size());
    if (line.ended && line.text.ends_with('\r')) {
        line.text.remove_suffix(1);
    }
    line.text = trim_end(line.text);
    return line;
}

bool is_text(std::string_view line) {
    std::uint8_t seen = 0;
    for (const char byte : line) {
        seen |= class_of(byte);
    }
    return (seen & control) == 0 && ((seen & beyond_ascii) == 0 || is_utf8(line));
}

std::optional<Parameter> split_parameter(std::string_view line) {
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) {
        return std::nullopt;
    }
    const auto name = trim_end(line.substr(0, colon));
    if (name.empty() || !std::ranges::all_of(name, [](char byte) { return class_of(byte) == name_byte; })) {
        return std::nullopt;
    }
    return Parameter{find_name(name), name, trim(line.substr(colon + 1)), line};
}

std::optional<Version> parse_version(std::string_view text) {
    constexpr std::string_view prefix = "DTCP/";
    const auto dot = text.find('.');
    if (text.size() < prefix.size() || dot == std::string_view::npos || dot < prefix.size() ||
        !equal_ignoring_case(text.substr(0, prefix.size()), prefix)) {
        return std::nullopt;
    }
    const auto major = saturated(text.substr(prefix.size(), dot - prefix.size()));
    const auto minor = saturated(text.substr(dot + 1));
    if (!major || !minor) {
        return std::nullopt;
    }
    return Version{*major, *minor};
}

std::string_view take_word(std::string_view& rest) {
    const auto end = rest.find_first_of(" \t");
    const auto word = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : trim(rest.substr(end));
    return word;
}

}  // namespace flowtap::lib::dtcp
