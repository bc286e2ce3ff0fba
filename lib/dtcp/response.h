// Responses and notifications, as the server writes them: upper-case names, CRLF, signed last (dtcp.md
// sections 3, 8).
//
// The functions at the end write each answer with its parameters in Junos's order; MessageWriter is what they
// are made of. LIST answers: list_response.h. Notifications: notification.h. Reading them: response_reader.h.
#pragma once

#include "lib/dtcp/auth.h"
#include "lib/dtcp/code.h"
#include "lib/dtcp/message.h"
#include "lib/dtcp/name.h"
#include "lib/dtcp/timestamp.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flowtap::lib::dtcp {

/// Bytes of an offending line that are repeated at most, so that an answer fits a datagram.
inline constexpr std::size_t max_repeated = std::size_t{8} * 1024;

/// Appends to a message. Whatever is given, the result is one well-formed message: nothing can add a line.
class MessageWriter {
  public:
    MessageWriter(Version version, Code code);

    /// `text` is any bytes; they are escaped.
    MessageWriter& text(Name name, std::string_view text);
    /// `value` is in DTCP's own syntax: lists, ranges, escapes. Bytes that no line may hold are escaped.
    MessageWriter& value(Name name, std::string_view value);
    MessageWriter& number(Name name, std::uint64_t number);
    MessageWriter& time(Name name, Timestamp time);
    /// Repeats a line of the request; bytes that no line may hold are escaped. A line that would end the
    /// message, empty or a signature, is not written.
    MessageWriter& repeat(std::string_view line);

    std::size_t size() const { return message_.size(); }

    /// The whole message, signed. Called once, last.
    std::string sign(Hmac& key);

  private:
    void begin(Name name);

    std::string message_;
};

/// SEQ, TIMESTAMP.
std::string noop_response(Version version, std::uint64_t seq, Timestamp now, Hmac& key);
/// SEQ, CRITERIA-ID, TIMESTAMP.
std::string add_response(Version version, std::uint64_t seq, std::uint64_t criteria_id, Timestamp now,
                         Hmac& key);
/// SEQ, CRITERIA-COUNT, TIMESTAMP: of DELETE, REFRESH, ENABLE and DISABLE.
std::string count_response(Version version, std::uint64_t seq, std::uint64_t count, Timestamp now, Hmac& key);
/// SEQ where the request's could be read, the offending line, TIMESTAMP. never_sent() codes are written as
/// 500: they must not leave the box.
std::string failure_response(Version version, std::optional<std::uint64_t> seq, const Failure& failure,
                             Timestamp now, Hmac& key);

}  // namespace flowtap::lib::dtcp
