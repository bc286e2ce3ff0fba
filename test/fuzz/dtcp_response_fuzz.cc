// Answers and notifications as a client reads them, and what a server may be made to write.
#include "lib/dtcp/escape.h"
#include "lib/dtcp/framing.h"
#include "lib/dtcp/list_response.h"
#include "lib/dtcp/notification.h"
#include "lib/dtcp/response.h"
#include "lib/dtcp/response_reader.h"
#include "test/fuzz/dtcp_fuzz.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace flowtap::test {
namespace {

namespace dtcp = lib::dtcp;

void check_read(std::string_view raw) {
    const auto response = dtcp::read_response_unverified(raw);
    const auto verified = dtcp::read_response(raw, fuzz_key());
    require(!verified || response, "what verifies is well-formed");
    if (!response) {
        return;
    }
    require(response->code <= 999, "three digits");
    std::size_t in_entries = 0;
    for (const auto& entry : response->entries()) {
        require(!entry.empty() && entry.front().id == dtcp::Name::criteria_id, "an entry starts with its ID");
        in_entries += entry.size();
    }
    require(in_entries <= response->fields.size(), "entries do not overlap");
    require(!response->seq() || !response->is_notification(), "a notification has no SEQ");
}

char upper(char character) {
    return character >= 'a' && character <= 'z' ? static_cast<char>(character - 'a' + 'A') : character;
}

/// The same bytes with our signature in place of what followed the parameters.
void check_signed(std::string_view raw) {
    constexpr std::string_view name = "AUTHENTICATION-INFO";  // however it is written
    const auto signature = std::ranges::search(raw, name, {}, [](char c) { return upper(c); });
    std::string message{raw.begin(), signature.begin()};
    while (message.ends_with('\n') || message.ends_with('\r')) {
        message.pop_back();
    }
    message += "\r\n";
    fuzz_key().sign(message);
    dtcp::Splitter splitter{std::numeric_limits<std::size_t>::max()};
    std::string_view input = message;
    const auto framed = splitter.next(input);
    require(framed.has_value(), "no limit, no error");
    if (*framed && (*framed)->size() == message.size()) {
        require(dtcp::read_response(**framed, fuzz_key()).has_value() ==
                    dtcp::read_response_unverified(**framed).has_value(),
                "what we sign verifies");
    }
}

/// Any bytes as values: they come back as they were, and the message is one message.
void check_written(std::string_view bytes) {
    constexpr auto version = dtcp::version_0_7;
    auto writer = dtcp::MessageWriter{version, dtcp::Code::ok};
    writer.text(dtcp::Name::alert_info, bytes)
        .text(dtcp::Name::cdest_id, dtcp::escape_entry(bytes))
        .value(dtcp::Name::criteria_id, bytes)
        .repeat(bytes);
    const std::string message = writer.sign(fuzz_key());
    const auto read = dtcp::read_response(message, fuzz_key());
    require(read.has_value(), "what is written is well-formed");
    require(dtcp::unescape(*read->find(dtcp::Name::alert_info)) == bytes, "text comes back");
    require(dtcp::unescape(*dtcp::unescape(*read->find(dtcp::Name::cdest_id))) == bytes,
            "an entry comes back");
    require(read->fields.size() + read->other_lines.size() <= 4, "nothing adds a line");

    const std::string notice =
        dtcp::write_notification(version, dtcp::RestartNotification{bytes}, dtcp::Timestamp{}, fuzz_key());
    require(dtcp::read_response(notice, fuzz_key()).has_value(), "a notification is well-formed");

    dtcp::ListWriter list{version, 1, dtcp::Timestamp{}, 2, 1400, fuzz_key()};
    for (int i = 0; i < 2; ++i) {
        list.add({.criteria_id = 1, .csource_id = bytes, .csource_address = bytes, .cdest_ids = bytes});
    }
    std::size_t entries = 0;
    for (const std::string& part : std::move(list).finish()) {
        const auto answer = dtcp::read_response(part, fuzz_key());
        require(answer.has_value(), "a LIST answer is well-formed");
        require(part.size() <= 1400 || answer->entries().size() == 1, "a datagram, or one entry");
        entries += answer->entries().size();
    }
    require(entries == 2, "no entry is lost or split");
}

}  // namespace
}  // namespace flowtap::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = flowtap::test::as_text(data, size);
    flowtap::test::check_read(text);
    flowtap::test::check_signed(text);
    flowtap::test::check_written(text);
    return 0;
}
