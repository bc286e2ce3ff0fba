// Responses and notifications, as a client reads them. Owns its strings.
#pragma once

#include "lib/dtcp/auth.h"
#include "lib/dtcp/message.h"
#include "lib/dtcp/name.h"

#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::lib::dtcp {

struct ResponseField {
    Name id = Name::unknown;
    std::string name;   ///< as given
    std::string value;  ///< escapes as they came (see escape.h)

    bool operator==(const ResponseField&) const = default;
};

struct Response {
    Version version;
    std::uint16_t code = 0;             ///< any three digits: a Code where it is one of ours
    std::string text;                   ///< the rest of the first line
    std::vector<ResponseField> fields;  ///< in the order given, Authentication-Info excluded
    std::vector<std::string>
        other_lines;  ///< that are no parameters: the repeated request line of a 400, 501, 505

    /// The value of the first of that name, or nullptr.
    const std::string* find(Name name) const;
    /// Unset where it is missing (a notification has none) or no number.
    std::optional<std::uint64_t> seq() const;
    bool is_notification() const { return find(Name::seq) == nullptr; }

    /// The entries of a LIST answer: each starts at a CRITERIA-ID. Views of fields.
    std::vector<std::span<const ResponseField>> entries() const;
};

/// `raw`: one message with its empty line. Errors are sentences for a person: ill-formed, without a
/// signature, or with a wrong one.
std::expected<Response, std::string> read_response(std::string_view raw, Hmac& key);

/// The same without looking at the signature, for tools that have no key.
std::expected<Response, std::string> read_response_unverified(std::string_view raw);

}  // namespace flowtap::lib::dtcp
