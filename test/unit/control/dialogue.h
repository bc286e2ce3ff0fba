// What tests say to the service, and what they make of its answers.
#pragma once

#include "lib/dtcp/response_reader.h"
#include "test/unit/control/box.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace flowtap::test {

/// The messages of a stream, each checked to be signed with the source's key.
inline std::vector<lib::dtcp::Response> read(std::string_view stream, std::string_view source = "a") {
    const auto secret = fmt::format("key-{}", source);
    auto key = lib::dtcp::Hmac::create({reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size()});
    std::vector<lib::dtcp::Response> responses;
    while (!stream.empty()) {
        const auto end = stream.find("\r\n\r\n");
        REQUIRE(end != std::string_view::npos);
        auto response = lib::dtcp::read_response(stream.substr(0, end + 4), *key);
        REQUIRE(response.has_value());
        responses.push_back(std::move(*response));
        stream.remove_prefix(end + 4);
    }
    return responses;
}

inline lib::dtcp::Response one(std::string_view stream, std::string_view source = "a") {
    auto responses = read(stream, source);
    REQUIRE(responses.size() == 1);
    return std::move(responses.front());
}

inline std::string value(const lib::dtcp::Response& response, lib::dtcp::Name name) {
    const auto* const found = response.find(name);
    return found == nullptr ? "" : *found;
}

inline std::uint64_t id_of(const lib::dtcp::Response& response) {
    REQUIRE(response.code == 200);
    return std::stoull(value(response, lib::dtcp::Name::criteria_id));
}

inline std::uint64_t add(Box& box, std::initializer_list<std::string_view> more = {},
                         std::string_view source = "a") {
    return id_of(one(box.ask(add_message(1, more, source), std::string{source}), source));
}

/// The whole entries of a LIST answer.
inline std::size_t entries(Box& box, std::string_view source = "a") {
    return one(box.ask(message("LIST DTCP/0.7", {fmt::format("Csource-ID: {}", source), "Seq: 1"}, source),
                       std::string{source}),
               source)
        .entries()
        .size();
}

/// A request of source `source` with Seq 1.
inline std::string request(std::string_view method, std::initializer_list<std::string_view> lines,
                           std::string_view source = "a", std::string_view version = "DTCP/0.7") {
    std::string text = fmt::format("{} {}\r\nCsource-ID: {}\r\nSeq: 1", method, version, source);
    for (const auto line : lines) {
        text += fmt::format("\r\n{}", line);
    }
    return message(text, {}, source);
}

/// A LIST of source a's.
inline std::string list(std::initializer_list<std::string_view> lines) {
    return request("LIST", lines);
}

/// A DELETE of static taps too, with Seq 9.
inline std::string remove(std::string_view selector, std::string_view source = "a") {
    return message("DELETE DTCP/0.7",
                   {fmt::format("Csource-ID: {}", source), "Seq: 9", selector, "Flags: Static"}, source);
}

inline std::uint64_t number(const lib::dtcp::Response& response, lib::dtcp::Name name) {
    const auto text = value(response, name);
    REQUIRE_FALSE(text.empty());
    return std::stoull(text);
}

/// CRITERIA-COUNT of a success.
inline std::uint64_t count_of(const lib::dtcp::Response& response) {
    REQUIRE(response.code == 200);
    return number(response, lib::dtcp::Name::criteria_count);
}

}  // namespace flowtap::test
