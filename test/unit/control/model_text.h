// The texts of the protocol, made and taken apart for the model-based test without the codec: signatures,
// times, answers, and what lists of ranges select.
#pragma once

#include "test/unit/control/model_ask.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowtap::test::model {

struct Moment {
    std::uint64_t boot = 0;  ///< ns
    std::int64_t utc = 0;    ///< ns since 1970
};

inline constexpr std::uint64_t second = 1'000'000'000;

/// Lower-case hex HMAC-SHA1.
std::string signature(std::string_view key, std::string_view bytes);

/// "YYYY-MM-DD HH:MM:SS.mmm", UTC.
std::string time_text(std::int64_t utc);

/// An answer. `fields`: its lines without the last, which is the signature and was right.
struct Reply {
    std::string version;
    int code = 0;
    std::string reason;
    std::vector<std::string> lines;
    std::string text;

    /// The first of that name.
    std::optional<std::string> value(std::string_view name) const;
    std::optional<std::uint64_t> number(std::string_view name) const;
};

/// The answers in a stream that is whole, the first signed with the first key, and so on. Nothing: `why` says
/// what about it is no answer, or one too many.
std::optional<std::vector<Reply>> replies_of(std::string_view stream, const std::vector<std::string>& keys,
                                             std::string& why);

/// Sorted, apart, both ends included.
using Set = std::vector<std::pair<Wide, Wide>>;

/// What a list selects of 0..most: (no positive entry, or one holds it) and no negated entry holds it.
Set selected(const Spans& spans, Wide most);
bool holds(const Set& set, Wide value);
Set intersection(const Set& left, const Set& right);
std::string set_text(const Set& set);

constexpr Wide highest(int family) {
    return family == 4 ? Wide{0xffff'ffff} : ~Wide{0};
}

}  // namespace flowtap::test::model
