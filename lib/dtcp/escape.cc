#include "lib/dtcp/escape.h"

#include <cstddef>
#include <cstdint>

namespace flowtap::lib::dtcp {
namespace {

constexpr bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

/// The byte of the escape whose backslash is at `at`; nothing where it is none.
std::optional<char> escaped_byte(std::string_view value, std::size_t at) {
    if (value.size() - at < 4 || !is_digit(value[at + 1]) || !is_digit(value[at + 2]) ||
        !is_digit(value[at + 3])) {
        return std::nullopt;
    }
    const int number = (value[at + 1] - '0') * 100 + (value[at + 2] - '0') * 10 + (value[at + 3] - '0');
    if (number > 255) {
        return std::nullopt;
    }
    return static_cast<char>(static_cast<std::uint8_t>(number));
}

void append_escape(std::string& text, char byte) {
    const unsigned number = static_cast<std::uint8_t>(byte);
    text += '\\';
    text += static_cast<char>('0' + number / 100);
    text += static_cast<char>('0' + number / 10 % 10);
    text += static_cast<char>('0' + number % 10);
}

constexpr bool is_control(char byte) {
    return (byte >= 0 && byte < ' ') || byte == 0x7f;
}

/// Bytes of the UTF-8 character at the front; 0 where there is none (RFC 3629 section 4).
std::size_t character_size(std::string_view bytes) {
    const auto at = [bytes](std::size_t index) { return static_cast<std::uint8_t>(bytes[index]); };
    const auto follows = [&](std::size_t index, std::uint8_t low = 0x80, std::uint8_t high = 0xbf) {
        return index < bytes.size() && at(index) >= low && at(index) <= high;
    };
    const std::uint8_t lead = at(0);
    if (lead < 0x80) {
        return 1;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        return follows(1) ? 2 : 0;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        const std::uint8_t low = lead == 0xe0 ? 0xa0 : 0x80;
        const std::uint8_t high = lead == 0xed ? 0x9f : 0xbf;
        return follows(1, low, high) && follows(2) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        const std::uint8_t low = lead == 0xf0 ? 0x90 : 0x80;
        const std::uint8_t high = lead == 0xf4 ? 0x8f : 0xbf;
        return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
    }
    return 0;
}

/// Copies characters, escaping those that are not UTF-8 and the single bytes that `must` names (with their
/// place).
template <typename Must>
std::string escape_where(std::string_view bytes, Must must) {
    std::string text;
    text.reserve(bytes.size());
    for (std::size_t i = 0; i < bytes.size();) {
        const std::size_t size = character_size(bytes.substr(i));
        if (size == 0 || (size == 1 && must(i))) {
            append_escape(text, bytes[i]);
            ++i;
        } else {
            text += bytes.substr(i, size);
            i += size;
        }
    }
    return text;
}

/// Whether the white space at `at` is at an end of the text.
bool at_an_end(std::string_view bytes, std::size_t first_text, std::size_t last_text, std::size_t at) {
    return (bytes[at] == ' ' || bytes[at] == '\t') && (at < first_text || at > last_text);
}

template <typename Also>
std::string escape_value(std::string_view bytes, Also also) {
    constexpr std::string_view white_space = " \t";
    // Nothing but white space: npos for both, so that every byte is "before the text".
    const auto first_text = bytes.find_first_not_of(white_space);
    const auto last_text = bytes.find_last_not_of(white_space);
    return escape_where(bytes, [&](std::size_t i) {
        return bytes[i] == '\\' || is_control(bytes[i]) || at_an_end(bytes, first_text, last_text, i) ||
               also(i);
    });
}

}  // namespace

std::optional<std::string> unescape(std::string_view value) {
    std::string bytes;
    bytes.reserve(value.size());
    for (std::size_t i = 0; i < value.size();) {
        if (value[i] != '\\') {
            bytes += value[i++];
            continue;
        }
        const auto byte = escaped_byte(value, i);
        if (!byte) {
            return std::nullopt;
        }
        bytes += *byte;
        i += 4;
    }
    return bytes;
}

std::string escape(std::string_view bytes) {
    return escape_value(bytes, [](std::size_t) { return false; });
}

std::string escape_entry(std::string_view bytes) {
    return escape_value(bytes, [bytes](std::size_t i) {
        return bytes[i] == ',' || bytes[i] == '*' || (i == 0 && bytes[i] == '!');
    });
}

std::string escape_line(std::string_view line) {
    return escape_where(line, [line](std::size_t i) { return is_control(line[i]) && line[i] != '\t'; });
}

bool is_utf8(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t size = character_size(bytes);
        if (size == 0) {
            return false;
        }
        bytes.remove_prefix(size);
    }
    return true;
}

}  // namespace flowtap::lib::dtcp
