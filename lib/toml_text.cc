#include "lib/toml_text.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace flowtap::lib {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

/// Walks through a document just far enough to know comments from the rest.
class Walk {
  public:
    explicit Walk(std::string_view text) : text_(text) {}

    bool in_comment() const { return delimiter_ == '#'; }

    /// Takes the character at `at` into account; returns how many characters that were.
    std::size_t step(std::size_t at) {
        const char c = text_[at];
        if (c == '\n' && width_ < 3) {
            delimiter_ = 0;  // comments and one-line strings end with their line
            width_ = 0;
        } else if (delimiter_ == 0 && c == '#') {
            delimiter_ = c;
        } else if (delimiter_ == 0 && (c == '"' || c == '\'')) {
            delimiter_ = c;
            width_ = is_triple(at, c) ? 3 : 1;
            return width_;
        } else if (delimiter_ == '"' && c == '\\' && is_escaped(at + 1)) {
            return 2;
        } else if (width_ > 0 && c == delimiter_ && (width_ == 1 || is_triple(at, c))) {
            delimiter_ = 0;
            return std::exchange(width_, 0);
        }
        return 1;
    }

  private:
    bool is_triple(std::size_t at, char c) const {
        return text_.substr(at, 3).size() == 3 && text_[at + 1] == c && text_[at + 2] == c;
    }

    bool is_escaped(std::size_t at) const {
        return at < text_.size() && (text_[at] == '"' || text_[at] == '\\');
    }

    std::string_view text_;
    char delimiter_ = 0;     ///< quote of the string that this is in, '#' in a comment, 0 elsewhere
    std::size_t width_ = 0;  ///< quotes that delimit it
};

}  // namespace

std::optional<ConfigError> check_toml_text(std::string_view text, std::string_view name) {
    const std::size_t first = text.starts_with(byte_order_mark) ? byte_order_mark.size() : 0;
    Walk walk(text);
    std::uint32_t line = 1;
    std::size_t line_start = first;
    for (std::size_t at = first; at < text.size();) {
        const auto byte = static_cast<unsigned char>(text[at]);
        const bool ascii = (byte >= ' ' && byte <= '~') || byte == '\t' || byte == '\r' || byte == '\n';
        if (!ascii && !(byte >= 0x80 && walk.in_comment())) {
            return ConfigError{
                .file = std::string(name),
                .line = line,
                .column = static_cast<std::uint32_t>(at - line_start + 1),
                .message = fmt::format("the byte {:#04x} is not allowed here: printable ASCII is, and "
                                       "any UTF-8 text in comments",
                                       byte)};
        }
        if (byte == '\n') {
            ++line;
            line_start = at + 1;
        }
        at += walk.step(at);
    }
    return {};
}

}  // namespace flowtap::lib
