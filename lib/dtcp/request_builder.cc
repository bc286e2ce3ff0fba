#include "lib/dtcp/request_builder.h"

#include "lib/dtcp/escape.h"
#include "lib/dtcp/write.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

bool may_stand_in_a_name(char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '-' || byte == '_' || byte == '.';
}

}  // namespace

RequestBuilder::RequestBuilder(Method method, Version version) {
    message_ = to_string(method);
    message_ += ' ';
    message_ += to_string(version);
    message_ += "\r\n";
}

RequestBuilder& RequestBuilder::add(Name name, std::string_view value) {
    append_line(message_, name, escape_line(value));
    return *this;
}

RequestBuilder& RequestBuilder::add(Name name, std::uint64_t value) {
    append_number_line(message_, name, value);
    return *this;
}

RequestBuilder& RequestBuilder::add(std::string_view name, std::string_view value) {
    std::ranges::copy_if(name, std::back_inserter(message_), may_stand_in_a_name);
    message_ += ": ";
    message_ += escape_line(value);
    message_ += "\r\n";
    return *this;
}

std::string RequestBuilder::sign(std::string_view csource_id, std::uint64_t seq, Hmac& key) {
    append_line(message_, Name::csource_id, escape(csource_id));
    append_number_line(message_, Name::seq, seq);
    key.sign(message_);
    return std::move(message_);
}

}  // namespace flowtap::lib::dtcp
