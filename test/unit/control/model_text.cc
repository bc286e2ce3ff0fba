#include "test/unit/control/model_text.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace flowtap::test::model {

std::string signature(std::string_view key, std::string_view bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    ::HMAC(::EVP_sha1(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data(), &size);
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
        text += fmt::format("{:02x}", digest[i]);
    }
    return text;
}

std::string time_text(std::int64_t utc) {
    const std::time_t seconds = utc / 1'000'000'000;
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                       utc % 1'000'000'000 / 1'000'000);
}

std::optional<std::string> Reply::value(std::string_view name) const {
    for (const auto& line : lines) {
        if (line.starts_with(name) && line.substr(name.size()).starts_with(": ")) {
            return line.substr(name.size() + 2);
        }
    }
    return std::nullopt;
}

std::optional<std::uint64_t> Reply::number(std::string_view name) const {
    const auto digits = value(name);
    std::uint64_t number = 0;
    if (!digits) {
        return std::nullopt;
    }
    const auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), number);
    return error == std::errc{} && end == digits->data() + digits->size() ? std::optional{number}
                                                                          : std::nullopt;
}

namespace {

std::optional<Reply> reply_of(std::string_view message, std::string_view key, std::string& why) {
    constexpr std::string_view last = "AUTHENTICATION-INFO: ";
    Reply reply;
    reply.text = message;
    std::size_t at = 0;
    bool is_signed = false;
    while (at < message.size()) {
        const auto end = message.find("\r\n", at);
        const std::string line{message.substr(at, end - at)};
        if (is_signed || line.find_first_of("\r\n") != std::string::npos) {
            why = "something follows the signature, or a line holds a line end";
            return std::nullopt;
        }
        if (line.starts_with(last)) {
            is_signed = line.substr(last.size()) == signature(key, message.substr(0, at));
        } else {
            reply.lines.push_back(line);
        }
        at = end + 2;
    }
    if (!is_signed || reply.lines.empty()) {
        why = "not signed, or wrongly";
        return std::nullopt;
    }
    const auto first = reply.lines.front();
    reply.lines.erase(reply.lines.begin());
    const auto space = first.find(' ');
    if (first.size() < 13 || space != 8 || first[12] != ' ') {
        why = "no answer's first line";
        return std::nullopt;
    }
    reply.version = first.substr(0, space);
    reply.code = std::stoi(first.substr(9, 3));
    reply.reason = first.substr(13);
    return reply;
}

}  // namespace

std::optional<std::vector<Reply>> replies_of(std::string_view stream, const std::vector<std::string>& keys,
                                             std::string& why) {
    std::vector<Reply> replies;
    while (!stream.empty()) {
        const auto end = stream.find("\r\n\r\n");
        if (end == std::string_view::npos) {
            why = "an answer without an end";
            return std::nullopt;
        }
        if (replies.size() == keys.size()) {
            why = "more answers than requests";
            return std::nullopt;
        }
        auto reply = reply_of(stream.substr(0, end + 2), keys[replies.size()], why);
        if (!reply) {
            return std::nullopt;
        }
        replies.push_back(std::move(*reply));
        stream.remove_prefix(end + 4);
    }
    return replies;
}

namespace {

Set united(Set set) {
    std::ranges::sort(set);
    Set result;
    for (const auto& [first, last] : set) {
        if (!result.empty() && (first <= result.back().second || first == result.back().second + 1)) {
            result.back().second = std::max(result.back().second, last);
        } else {
            result.emplace_back(first, last);
        }
    }
    return result;
}

}  // namespace

Set selected(const Spans& spans, Wide most) {
    Set positive;
    Set negated;
    for (const auto& span : spans) {
        (span.negated ? negated : positive)
            .emplace_back(span.whole ? 0 : span.first, span.whole ? most : span.last);
    }
    if (positive.empty()) {
        positive.emplace_back(0, most);
    }
    Set result = united(std::move(positive));
    for (const auto& [first, last] : united(std::move(negated))) {
        Set rest;
        for (const auto& [low, high] : result) {
            if (last < low || high < first) {
                rest.emplace_back(low, high);
                continue;
            }
            if (low < first) {
                rest.emplace_back(low, first - 1);
            }
            if (last < high) {
                rest.emplace_back(last + 1, high);
            }
        }
        result = std::move(rest);
    }
    return result;
}

bool holds(const Set& set, Wide value) {
    return std::ranges::any_of(
        set, [value](const auto& range) { return range.first <= value && value <= range.second; });
}

Set intersection(const Set& left, const Set& right) {
    Set result;
    for (const auto& [first, last] : left) {
        for (const auto& [low, high] : right) {
            if (std::max(first, low) <= std::min(last, high)) {
                result.emplace_back(std::max(first, low), std::min(last, high));
            }
        }
    }
    return united(std::move(result));
}

std::string set_text(const Set& set) {
    const auto wide = [](Wide value) {
        return fmt::format("{:x}.{:x}", static_cast<std::uint64_t>(value >> 64),
                           static_cast<std::uint64_t>(value));
    };
    std::string text;
    for (const auto& [first, last] : set) {
        text += fmt::format("{}-{};", wide(first), wide(last));
    }
    return text;
}

}  // namespace flowtap::test::model
