#include "tools/dtcp/words.h"

#include <cstddef>

namespace flowtap::tools::dtcp {
namespace {

/// The text of the quotes that open at `at`; `at` is then behind them. False: they are not closed.
bool read_quoted(std::string_view line, std::size_t& at, std::string& word) {
    const char quote = line[at++];
    for (; at < line.size(); ++at) {
        if (line[at] == quote) {
            ++at;
            return true;
        }
        const bool escapes = quote == '"' && line[at] == '\\' && at + 1 < line.size() &&
                             (line[at + 1] == '"' || line[at + 1] == '\\');
        at += escapes ? 1 : 0;
        word += line[at];
    }
    return false;
}

}  // namespace

std::expected<std::vector<std::string>, std::string> split_words(std::string_view line) {
    std::vector<std::string> words;
    bool in_word = false;
    for (std::size_t at = 0; at < line.size();) {
        const char c = line[at];
        if (c == ' ' || c == '\t' || c == '\r') {
            in_word = false;
            ++at;
            continue;
        }
        if (!in_word && c == '#') {
            break;
        }
        if (!in_word) {
            words.emplace_back();
            in_word = true;
        }
        if (c == '\'' || c == '"') {
            if (!read_quoted(line, at, words.back())) {
                return std::unexpected(std::string{"a quote is not closed"});
            }
            continue;
        }
        if (c == '\\' && ++at == line.size()) {
            return std::unexpected(std::string{"a backslash at the end of the line"});
        }
        words.back() += line[at++];
    }
    return words;
}

}  // namespace flowtap::tools::dtcp
