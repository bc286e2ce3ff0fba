// Numbers and lines appended to a message. Internal to the codec.
#pragma once

#include "lib/dtcp/name.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace flowtap::lib::dtcp {

inline void append_number(std::string& text, std::uint64_t number) {
    std::array<char, 20> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    text.append(digits.data(), end);
}

/// "NAME: number" CRLF
inline void append_number_line(std::string& text, Name name, std::uint64_t number) {
    text += to_string(name);
    text += ": ";
    append_number(text, number);
    text += "\r\n";
}

/// "NAME: value" CRLF; the value holds nothing that a line may not hold.
inline void append_line(std::string& text, Name name, std::string_view value) {
    text += to_string(name);
    text += ": ";
    text += value;
    text += "\r\n";
}

}  // namespace flowtap::lib::dtcp
