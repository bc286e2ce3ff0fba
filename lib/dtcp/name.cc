#include "lib/dtcp/name.h"

#include <algorithm>
#include <array>

namespace flowtap::lib::dtcp {
namespace {

constexpr std::array<std::string_view, name_count> names{
    "CSOURCE-ID",
    "SEQ",
    "AUTHENTICATION-INFO",
    "TIMESTAMP",
    "CDEST-ID",
    "CRITERIA-ID",
    "FLAGS",
    "PRIORITY",
    "ACTION",
    "SOURCE-ADDRESS",
    "DEST-ADDRESS",
    "PROTOCOL",
    "SOURCE-PORT",
    "DEST-PORT",
    "ICMP-TYPE",
    "ICMP-CODE",
    "TIMEOUT-IDLE",
    "TIMEOUT-TOTAL",
    "TIMEOUT-PACKETS",
    "TIMEOUT-BYTES",
    "X-JTAP-CDEST-DEST-ADDRESS",
    "X-JTAP-CDEST-DEST-PORT",
    "X-JTAP-CDEST-SOURCE-ADDRESS",
    "X-JTAP-CDEST-SOURCE-PORT",
    "X-JTAP-CDEST-TTL",
    "X-JTAP-VRF-NAME",
    "X-JTAP-INPUT-INTERFACE",
    "X-JTAP-OUTPUT-INTERFACE",
    "X-JTAP-IP-VERSION",
    "X-JTAP-FILTER-FAMILY",
    "X-MD-INTERCEPT-ID",
    "X-INTERFACE-ID",
    "X-USERNAME",
    "X-ACT-SESS-ID",
    "X-IP-ADDR",
    "X-DROP-POLICY",
    "CSOURCE-ADDRESS",
    "REMAINING-IDLE",
    "REMAINING-TOTAL",
    "REMAINING-PACKETS",
    "REMAINING-BYTES",
    "AVERAGE-BANDWIDTH",
    "ALERT-BANDWIDTH",
    "MAX-BANDWIDTH",
    "MATCHING-PACKETS",
    "MATCHING-BYTES",
    "DROPPED-PACKETS",
    "DROPPED-BYTES",
    "NUM-REFRESH",
    "LAST-REFRESH",
    "CRITERIA-NUM",
    "CRITERIA-COUNT",
    "NUM-CRITERIA",
    "ALERT-INFO",
};

constexpr char upper(char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
}

/// From the end, where names of one length differ soonest.
constexpr bool is_upper_of(std::string_view name, std::string_view text) {
    for (std::size_t i = text.size(); i-- > 0;) {
        if (upper(text[i]) != name[i]) {
            return false;
        }
    }
    return true;
}

constexpr std::size_t longest = std::ranges::max(names, {}, &std::string_view::size).size();

struct ByLength {
    std::array<Name, name_count> sorted{};
    std::array<std::uint8_t, longest + 2> begin{};  ///< names of n bytes: sorted[begin[n], begin[n + 1])
};

constexpr ByLength by_length = [] {
    ByLength index;
    std::uint8_t place = 0;
    for (std::size_t length = 0; length <= longest; ++length) {
        index.begin[length] = place;
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (names[i].size() == length) {
                index.sorted[place++] = static_cast<Name>(i);
            }
        }
    }
    index.begin[longest + 1] = place;
    return index;
}();
static_assert(by_length.begin[longest + 1] == name_count && by_length.begin[1] == 0, "a name is missing");

}  // namespace

std::string_view to_string(Name name) {
    return name == Name::unknown ? std::string_view{} : names[static_cast<std::size_t>(name)];
}

Name find_name(std::string_view text) {
    if (text.size() > longest) {
        return Name::unknown;
    }
    for (auto i = by_length.begin[text.size()]; i < by_length.begin[text.size() + 1]; ++i) {
        const Name name = by_length.sorted[i];
        if (is_upper_of(names[static_cast<std::size_t>(name)], text)) {
            return name;
        }
    }
    return Name::unknown;
}

bool equal_ignoring_case(std::string_view left, std::string_view right) {
    return std::ranges::equal(left, right, {}, upper, upper);
}

}  // namespace flowtap::lib::dtcp
