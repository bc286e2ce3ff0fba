// A request as whoever wrote it means it, and the bytes that say so. The generator makes both at once; the
// reference model looks at the meaning, the service at the bytes. So the model needs no parser, and shares no
// code with the one that it judges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace flowtap::test::model {

/// Wide enough for an IPv6 address.
__extension__ using Wide = unsigned __int128;

enum class Verb : std::uint8_t { add, remove, refresh, list, noop, enable, disable, other };

/// One entry of a list as it was meant: first may be after last, and beyond what the field holds.
struct Span {
    Wide first = 0;
    Wide last = 0;
    bool negated = false;
    bool alone = false;  ///< a number by itself
    bool whole = false;  ///< `*`
    int family = 0;      ///< 4 or 6 of an address; 0: a number, or `*`
};
using Spans = std::vector<Span>;

/// What a request may be refused with.
struct Blame {
    int code = 400;
    std::vector<std::string> lines{};  ///< one of these is repeated
    bool may_be_bare = false;          ///< or none
};
using Blames = std::vector<Blame>;

struct Line {
    std::string value;  ///< without white space around it
    std::string text;   ///< the whole line, without its end
};

struct Ask {
    Verb verb = Verb::noop;
    int minor = 7;
    int major = 0;
    std::string first_line;

    // Who asks
    std::string user;
    int source = -1;  ///< -1: none that there is
    bool authentic = true;
    std::optional<std::uint64_t> seq;

    /// By canonical name: the first of its name.
    std::map<std::string, Line> lines;
    /// What is wrong with single lines whatever they mean.
    Blames wrong;

    // What the lines mean
    std::vector<std::string> cdests;
    Spans ids;
    bool static_flag = false;
    bool async_flag = false;
    bool criteria_flag = false;
    bool stats_flag = false;
    bool both_flag = false;
    std::map<std::string, std::uint64_t> numbers;  ///< timeouts and priority
    std::map<std::string, Spans> elements;         ///< filter elements
    std::map<std::string, std::vector<std::string>> words;

    std::string bytes;

    bool has(const std::string& name) const { return lines.contains(name); }
    std::string text_of(const std::string& name) const {
        const auto found = lines.find(name);
        return found == lines.end() ? std::string{} : found->second.text;
    }
};

}  // namespace flowtap::test::model
