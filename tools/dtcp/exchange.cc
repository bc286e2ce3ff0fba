#include "tools/dtcp/exchange.h"

#include "lib/dtcp/framing.h"
#include "lib/dtcp/request_builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <sysexits.h>
#include <utility>

namespace flowtap::tools::dtcp {
namespace {

using lib::dtcp::Code;
using lib::dtcp::Name;
using lib::dtcp::Response;

// A LIST of a million taps is some 500 MB.
constexpr std::size_t largest_answer = std::size_t{1} << 30U;

std::uint64_t number(const std::string* text) {
    std::uint64_t value = 0;
    if (text != nullptr) {
        std::from_chars(text->data(), text->data() + text->size(), value);
    }
    return value;
}

/// Whether more parts of a LIST answer follow: its entries are numbered, and each says how many there are in
/// all.
bool more_follows(const Response& response) {
    const auto entries = response.entries();
    if (entries.empty()) {
        return false;
    }
    const auto value = [&entries](Name name) -> const std::string* {
        for (const auto& field : entries.back()) {
            if (field.id == name) {
                return &field.value;
            }
        }
        return nullptr;
    };
    const auto* place = value(Name::criteria_num);
    const auto* total = value(Name::criteria_count);
    return place != nullptr && total != nullptr && number(place) < number(total);
}

bool is_notification(const Response& response) {
    constexpr std::array codes{Code::rollover,   Code::noop,           Code::criterion_timed_out,
                               Code::congestion, Code::copies_dropped, Code::restart,
                               Code::purged};
    return response.is_notification() &&
           std::ranges::find(codes, static_cast<Code>(response.code)) != codes.end();
}

/// A failure may come without Seq, where the server could not read the request's; a success never does.
bool answers(const Response& response, std::uint64_t seq) {
    const auto echoed = response.seq();
    return echoed ? *echoed == seq : response.code >= 300;
}

Problem session_ended(SshSession& session) {
    // The bridge's word for it (sysexits.h); nothing of the request was passed on then.
    if (session.exit_status() == EX_UNAVAILABLE) {
        return {Outcome::no_connection, "the server's DTCP service is not running"};
    }
    return {Outcome::no_answer, "the server ended the session without an answer"};
}

}  // namespace

std::string build_request(const Options& options, std::uint64_t seq, lib::dtcp::Hmac& key) {
    lib::dtcp::RequestBuilder builder(options.method, options.version);
    for (const auto& [name, value] : options.parameters) {
        builder.add(std::string_view{name}, value);
    }
    return std::move(builder).sign(options.csource, seq, key);
}

std::expected<Answer, Problem> exchange(SshSession& session, std::string_view request, std::uint64_t seq,
                                        SshSession::Deadline deadline, lib::dtcp::Hmac& key) {
    if (auto sent = session.write(request); !sent) {
        return std::unexpected(std::move(sent.error()));
    }
    Answer answer;
    lib::dtcp::Splitter splitter(largest_answer);
    for (;;) {
        const auto bytes = session.read(deadline);
        if (!bytes) {
            return std::unexpected(bytes.error());
        }
        if (bytes->empty()) {
            return std::unexpected(session_ended(session));
        }
        for (std::string_view input = *bytes;;) {
            const auto split = splitter.next(input);
            if (!split) {
                return std::unexpected(
                    Problem{Outcome::not_authentic, "the answer is longer than any DTCP answer"});
            }
            const std::optional<std::string_view> message = *split;
            if (!message) {
                break;
            }
            auto response = read_response(*message, key);
            if (!response) {
                return std::unexpected(
                    Problem{Outcome::not_authentic,
                            fmt::format("the answer is not authentic: {}", response.error())});
            }
            if (is_notification(*response)) {
                answer.notifications.push_back(std::move(*response));
            } else if (answers(*response, seq)) {
                const bool last = !more_follows(*response);
                answer.messages.push_back(std::move(*response));
                if (last) {
                    return answer;
                }
            }
        }
    }
}

}  // namespace flowtap::tools::dtcp
