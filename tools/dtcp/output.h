// What the user sees of an answer, a problem or a notification.
#pragma once

#include "lib/dtcp/message.h"
#include "lib/dtcp/response_reader.h"
#include "tools/dtcp/answer.h"
#include "tools/dtcp/problem.h"

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace flowtap::tools::dtcp {

/// Of many requests, which one.
struct Label {
    std::size_t line = 0;  ///< 0: there is only one
    std::string command;
};

/// The exit code that an answer stands for.
Outcome outcome(const Answer& answer);

/// For a person: what was done, or the taps of a LIST in blocks. Ends with a line end.
std::string to_text(const Answer& answer, lib::dtcp::Method method);

/// For a person: why a request was refused, one line, with the line of the request that the server objects
/// to.
std::string refusal(const Answer& answer);

/// For a person: one line, all that it says.
std::string notification_text(const lib::dtcp::Response& notification);

/// One JSON object: "line" and "command" where there is a label, "outcome", "code", "text", "fields" (names
/// in lower case with "_"; numbers as numbers, escapes undone), for LIST "entries", where there are any
/// "lines" (that the server repeats) and "notifications".
std::string to_json(const Answer& answer, lib::dtcp::Method method, const Label& label,
                    std::span<const lib::dtcp::Response> notifications);

/// The label, "outcome" and "error".
std::string to_json(const Problem& problem, const Label& label);

/// {"notification": {"code": ..., "text": ..., "fields": ...}}
std::string notification_json(const lib::dtcp::Response& notification);

/// {"summary": {"requests": ..., "done": ..., ...}}
std::string summary_json(const std::map<Outcome, std::size_t>& counts, std::size_t not_sent);

}  // namespace flowtap::tools::dtcp
