// What the user sees of an answer or a problem.
#pragma once

#include "lib/dtcp/message.h"
#include "lib/dtcp/response_reader.h"
#include "tools/dtcp/exchange.h"
#include "tools/dtcp/problem.h"

#include <string>

namespace flowtap::tools::dtcp {

/// The exit code that an answer stands for.
Outcome outcome(const Answer& answer);

/// For a person: what was done, or the taps of a LIST in blocks. Ends with a line end.
std::string to_text(const Answer& answer, lib::dtcp::Method method);

/// For a person: why a request was refused, one line, with the line of the request that the server objects
/// to.
std::string refusal(const Answer& answer);

/// One JSON object: "outcome", "code", "text", "fields" (names in lower case with "_"; numbers as numbers,
/// escapes undone), for LIST "entries", where there are any "lines" (that the server repeats) and
/// "notifications".
std::string to_json(const Answer& answer, lib::dtcp::Method method);

/// {"outcome": ..., "error": ...}
std::string to_json(const Problem& problem);

}  // namespace flowtap::tools::dtcp
