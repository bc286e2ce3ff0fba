// One request and its answer, over an open session.
#pragma once

#include "lib/dtcp/auth.h"
#include "lib/dtcp/response_reader.h"
#include "tools/dtcp/options.h"
#include "tools/dtcp/problem.h"
#include "tools/dtcp/ssh_session.h"

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace flowtap::tools::dtcp {

struct Answer {
    /// One message; more where a LIST was answered in parts. At least one.
    std::vector<lib::dtcp::Response> messages;
    /// Notifications that came before the answer.
    std::vector<lib::dtcp::Response> notifications;
};

/// The request as it goes over the wire, signed.
std::string build_request(const Options& options, std::uint64_t seq, lib::dtcp::Hmac& key);

/// Sends the request and reads until its answer is whole. Every message is verified with the key; the first
/// that is not authentic ends the exchange.
std::expected<Answer, Problem> exchange(SshSession& session, std::string_view request, std::uint64_t seq,
                                        SshSession::Deadline deadline, lib::dtcp::Hmac& key);

}  // namespace flowtap::tools::dtcp
