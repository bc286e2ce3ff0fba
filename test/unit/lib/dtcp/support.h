// Messages for the tests of the codec, written as their lines.
#pragma once

#include "lib/dtcp/auth.h"
#include "lib/dtcp/message.h"
#include "lib/dtcp/requests.h"

#include <catch2/catch.hpp>

#include <expected>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace flowtap::test {

namespace dtcp = lib::dtcp;

/// The lines, each with its end; no empty line.
inline std::string lines(std::initializer_list<std::string_view> texts, std::string_view line_end = "\r\n") {
    std::string message;
    for (const auto text : texts) {
        message += text;
        message += line_end;
    }
    return message;
}

inline dtcp::Hmac hmac(std::string_view key) {
    auto made = dtcp::Hmac::create(std::span{reinterpret_cast<const std::uint8_t*>(key.data()), key.size()});
    REQUIRE(made);
    return std::move(*made);
}

/// A message of these lines with the Csource-ID and Seq that every request has, and its empty line.
inline std::string whole(std::initializer_list<std::string_view> texts) {
    return lines(texts) + "Csource-ID: csrc\r\nSeq: 7\r\n\r\n";
}

/// The same, of the method in version 0.8, so that only what a test is about stands in it.
inline std::string whole(std::string_view method, std::initializer_list<std::string_view> texts) {
    return std::string{method} + " DTCP/0.8\r\n" + whole(texts);
}

/// The failure of the message form.
inline std::optional<dtcp::Failure> form_failure(std::string_view raw) {
    return dtcp::parse_request(raw).failure();
}

/// An ADD of these lines, static and to one content destination.
inline std::expected<dtcp::AddRequest, dtcp::Failure> add(std::initializer_list<std::string_view> texts,
                                                          std::string_view version = "0.8") {
    const std::string raw =
        "ADD DTCP/" + std::string{version} + "\r\nCdest-ID: cd1\r\nFlags: Static\r\n" + whole(texts);
    return dtcp::parse_add(dtcp::parse_request(raw));
}

/// An ADD of these lines and no others than Csource-ID and Seq.
inline std::expected<dtcp::AddRequest, dtcp::Failure> bare_add(std::initializer_list<std::string_view> texts,
                                                               std::string_view version = "0.8") {
    const std::string raw = "ADD DTCP/" + std::string{version} + "\r\n" + whole(texts);
    return dtcp::parse_add(dtcp::parse_request(raw));
}

template <typename Value>
bool fails_with(const std::expected<Value, dtcp::Failure>& result, dtcp::Code code, std::string_view line) {
    CAPTURE(result.has_value());
    if (result) {
        return false;
    }
    UNSCOPED_INFO("code " << static_cast<int>(result.error().code) << ", line '" << result.error().line
                          << "', reason: " << result.error().reason);
    return result.error().code == code && result.error().line == line;
}

}  // namespace flowtap::test
