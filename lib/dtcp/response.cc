#include "lib/dtcp/response.h"

#include "lib/dtcp/escape.h"
#include "lib/dtcp/line.h"
#include "lib/dtcp/value.h"
#include "lib/dtcp/write.h"

#include <utility>

namespace flowtap::lib::dtcp {

MessageWriter::MessageWriter(Version version, Code code) {
    message_.reserve(256);
    message_ = to_string(version);
    message_ += ' ';
    append_number(message_, static_cast<std::uint64_t>(code));
    message_ += ' ';
    message_ += dtcp::text(code);
    message_ += "\r\n";
}

void MessageWriter::begin(Name name) {
    message_ += to_string(name);
    message_ += ": ";
}

MessageWriter& MessageWriter::text(Name name, std::string_view text) {
    begin(name);
    message_ += escape(text);
    message_ += "\r\n";
    return *this;
}

MessageWriter& MessageWriter::value(Name name, std::string_view value) {
    begin(name);
    message_ += escape_line(value);
    message_ += "\r\n";
    return *this;
}

MessageWriter& MessageWriter::number(Name name, std::uint64_t number) {
    append_number_line(message_, name, number);
    return *this;
}

MessageWriter& MessageWriter::time(Name name, Timestamp time) {
    begin(name);
    message_ += to_string(time);
    message_ += "\r\n";
    return *this;
}

MessageWriter& MessageWriter::repeat(std::string_view line) {
    line = line.substr(0, max_repeated);
    const auto parameter = split_parameter(line);
    const bool would_end = trim(line).empty() || (parameter && parameter->id == Name::authentication_info);
    if (!would_end) {
        message_ += escape_line(line);
        message_ += "\r\n";
    }
    return *this;
}

std::string MessageWriter::sign(Hmac& key) {
    key.sign(message_);
    return std::move(message_);
}

std::string noop_response(Version version, std::uint64_t seq, Timestamp now, Hmac& key) {
    return MessageWriter{version, Code::ok}.number(Name::seq, seq).time(Name::timestamp, now).sign(key);
}

std::string add_response(Version version, std::uint64_t seq, std::uint64_t criteria_id, Timestamp now,
                         Hmac& key) {
    return MessageWriter{version, Code::ok}
        .number(Name::seq, seq)
        .number(Name::criteria_id, criteria_id)
        .time(Name::timestamp, now)
        .sign(key);
}

std::string count_response(Version version, std::uint64_t seq, std::uint64_t count, Timestamp now,
                           Hmac& key) {
    return MessageWriter{version, Code::ok}
        .number(Name::seq, seq)
        .number(Name::criteria_count, count)
        .time(Name::timestamp, now)
        .sign(key);
}

std::string failure_response(Version version, std::optional<std::uint64_t> seq, const Failure& failure,
                             Timestamp now, Hmac& key) {
    const bool secret = never_sent(failure.code);
    MessageWriter message{version, secret ? Code::internal_error : failure.code};
    if (seq) {
        message.number(Name::seq, *seq);
    }
    if (!secret) {
        message.repeat(failure.line);
    }
    message.time(Name::timestamp, now);
    return message.sign(key);
}

}  // namespace flowtap::lib::dtcp
