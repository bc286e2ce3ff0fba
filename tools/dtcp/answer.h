// The answer to one request, put together from its messages.
#pragma once

#include "lib/dtcp/message.h"
#include "lib/dtcp/response_reader.h"

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

namespace flowtap::tools::dtcp {

struct Answer {
    /// One message; more where a LIST was answered in parts, in the order of their entries. At least one.
    std::vector<lib::dtcp::Response> messages;
};

/// Whether a response without Seq is a notification; otherwise it is a failure of a request whose Seq the
/// server could not read.
bool is_notification(const lib::dtcp::Response& response);

/// Takes the messages of one answer, in whatever order they come.
class AnswerParts {
  public:
    explicit AnswerParts(lib::dtcp::Method method) : method_{method} {}

    /// The whole answer, once it is. A part that was there before is left out.
    std::optional<Answer> add(lib::dtcp::Response response);

  private:
    bool whole(const lib::dtcp::Response& latest);

    lib::dtcp::Method method_;
    Answer answer_;
    std::set<std::uint64_t> numbers_;     ///< Criteria-Num of the entries so far
    std::uint64_t unnumbered_ = 0;        ///< entries without one
    std::optional<std::uint64_t> total_;  ///< as the server says
};

}  // namespace flowtap::tools::dtcp
