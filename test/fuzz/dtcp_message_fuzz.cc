// The stream of an SSH channel from its bytes to typed requests and the answer to each.
#include "lib/dtcp/framing.h"
#include "lib/dtcp/requests.h"
#include "lib/dtcp/response.h"
#include "lib/dtcp/response_reader.h"
#include "test/fuzz/dtcp_fuzz.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

namespace dtcp = lib::dtcp;

/// The messages of the stream; one more, "too long", where that is how it ends.
template <typename NextChunk>
std::vector<std::string> split(std::string_view stream, std::size_t limit, NextChunk next_chunk) {
    dtcp::Splitter splitter{limit};
    std::vector<std::string> messages;
    while (!stream.empty()) {
        const std::string chunk{stream.substr(0, std::max<std::size_t>(1, next_chunk()))};
        stream.remove_prefix(chunk.size());
        std::string_view input = chunk;
        for (;;) {
            const auto message = splitter.next(input);
            require(splitter.pending() <= limit, "no more than the limit is kept");
            if (!message) {
                messages.emplace_back("too long");
                return messages;
            }
            if (!*message) {
                require(input.empty(), "without a message all input is taken");
                break;
            }
            require((*message)->size() <= limit, "no message is longer than the limit");
            messages.emplace_back(**message);
        }
    }
    return messages;
}

void check_views(const dtcp::Request& request, std::string_view raw) {
    require(is_inside(request.request_line(), raw) && is_inside(request.method_text(), raw),
            "views of the first line");
    require(is_inside(request.signed_bytes(), raw) &&
                (request.signed_bytes().empty() || request.signed_bytes().data() == raw.data()),
            "signed bytes are a start of the message");
    require(request.parameters().size() <= dtcp::max_parameters, "bound on parameters");
    for (const dtcp::Parameter& parameter : request.parameters()) {
        require(is_inside(parameter.line, request.signed_bytes()), "a parameter is in the signed bytes");
        require(is_inside(parameter.name, parameter.line) && is_inside(parameter.value, parameter.line),
                "name and value are in the line");
        require(parameter.line.find_first_of("\r\n") == std::string_view::npos, "a line holds no line end");
        if (parameter.id != dtcp::Name::unknown) {
            const auto* const first = request.find(parameter.id);
            require(first != nullptr && first <= &parameter, "the first of a name counts");
            require(request.find(parameter.name) == first, "by name as by id");
        }
    }
}

/// What a LIST would repeat of an ADD is an ADD that means the same.
void check_given(const dtcp::AddRequest& add, dtcp::Version version) {
    std::string timeouts;
    const auto repeat = [&](const char* name, const auto& timeout) {
        if (timeout) {
            timeouts += std::string{name} + ": " + std::to_string(*timeout) + "\r\n";
        }
    };
    repeat("TIMEOUT-IDLE", add.timeouts.idle);
    repeat("TIMEOUT-TOTAL", add.timeouts.total);
    repeat("TIMEOUT-PACKETS", add.timeouts.packets);
    repeat("TIMEOUT-BYTES", add.timeouts.bytes);
    const std::string raw = "ADD " + dtcp::to_string(version) + "\r\nCdest-ID: " + add.cdest_ids + "\r\n" +
                            add.given_filter + timeouts + add.given + "\r\n";
    if (raw.size() > dtcp::max_message) {
        return;
    }
    const auto request = dtcp::parse_request(raw);
    const auto again = dtcp::parse_add(request);
    require(again.has_value(), "what was given is an ADD again");
    require(again->cdests == add.cdests && again->criterion == add.criterion &&
                again->timeouts == add.timeouts && again->is_static == add.is_static &&
                again->send_async == add.send_async && again->priority == add.priority &&
                again->action == add.action && again->vrf == add.vrf && again->interfaces == add.interfaces &&
                again->layer2 == add.layer2 && again->intercept_id == add.intercept_id &&
                again->subscriber_address == add.subscriber_address &&
                again->subscriber_interface == add.subscriber_interface &&
                again->given_filter == add.given_filter && again->given == add.given,
            "what was given means the same");
}

void check_failure(const dtcp::Request& request, const dtcp::Failure& failure, std::string_view raw) {
    require(raw.find(failure.line) != std::string_view::npos, "the offending line is one of the message");
    require(!failure.reason.empty(), "a failure has a reason");
    const auto version = dtcp::reply_version(request.version());
    const std::string answer = dtcp::failure_response(version, 1, failure, dtcp::Timestamp{}, fuzz_key());
    const auto read = dtcp::read_response(answer, fuzz_key());
    require(read.has_value(), "the answer is well-formed");
    require(read->code == static_cast<std::uint16_t>(failure.code) && read->version == version,
            "the answer says the code in a version that we speak");
    const std::size_t lines = read->fields.size() + read->other_lines.size();
    // A first line that looks like a signature cannot be repeated.
    const bool repeated = !failure.line.empty() && failure.line.find(':') == std::string::npos;
    require(lines == 3 || (lines == 2 && !repeated), "the answer holds the offending line, nothing else");
}

void check_message(std::string_view raw) {
    const auto request = dtcp::parse_request(raw);
    check_views(request, raw);
    require(!fuzz_key().verify(request) || request.authentication_info(),
            "nothing verifies without a digest");
    if (const auto envelope = dtcp::parse_envelope(request); !envelope) {
        require(envelope.error().code == dtcp::Code::bad_request, "an envelope fails with 400");
    }
    const auto typed = dtcp::parse_typed(request);
    require(!request.failure() || !typed, "an ill-formed message is no request");
    if (!typed) {
        check_failure(request, typed.error(), raw);
        return;
    }
    if (const auto* const add = std::get_if<dtcp::AddRequest>(&*typed)) {
        require(lib::term_count(add->criterion) <= lib::max_terms, "bound on terms");
        require(!add->cdests.empty() && add->cdests.size() <= dtcp::max_cdests,
                "bound on content destinations");
        require(add->interfaces.size() <= dtcp::max_interfaces, "bound on interfaces");
        check_given(*add, request.version());
    }
}

}  // namespace
}  // namespace flowtap::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view stream = flowtap::test::as_text(data, size);
    std::uint32_t state = static_cast<std::uint32_t>(size) * 2654435761U + 1;
    const auto random_chunk = [&state] {
        state = state * 1664525U + 1013904223U;
        return std::size_t{state >> 24 & 0x1f};
    };
    for (const std::size_t limit : {flowtap::lib::dtcp::max_message, std::size_t{96}}) {
        const auto whole = flowtap::test::split(stream, limit, [&stream] { return stream.size(); });
        flowtap::test::require(flowtap::test::split(stream, limit, [] { return std::size_t{1}; }) == whole,
                               "byte by byte gives the same messages");
        flowtap::test::require(flowtap::test::split(stream, limit, random_chunk) == whole,
                               "any chunks give the same messages");
        for (const std::string& message : whole) {
            flowtap::test::check_message(message);
        }
    }
    flowtap::test::check_message(stream);
    return 0;
}
