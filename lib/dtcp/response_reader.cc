#include "lib/dtcp/response_reader.h"

#include "lib/dtcp/line.h"
#include "lib/dtcp/value.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

struct Parsed {
    Response response;
    std::string_view signed_bytes;
    std::optional<std::string_view> signature;
};

bool is_code(std::string_view text) {
    return text.size() == 3 &&
           std::ranges::all_of(text, [](char digit) { return digit >= '0' && digit <= '9'; });
}

std::expected<Parsed, std::string> parse(std::string_view raw) {
    Parsed parsed{.response = {}, .signed_bytes = raw, .signature = std::nullopt};
    Response& response = parsed.response;
    std::string_view rest = raw;
    const Line first = take_line(rest);
    auto words = first.text;
    const auto version = parse_version(take_word(words));
    const auto code = take_word(words);
    if (!first.ended || !version || !is_code(code) || !is_text(first.text)) {
        return std::unexpected(
            "the first line is not a response's: \"DTCP/0.7 200 OK\" is what one looks like");
    }
    response.version = *version;
    response.code = *parse_number<std::uint16_t>(code, 999);
    response.text = words;
    for (;;) {
        const auto from_here = rest;
        const Line line = take_line(rest);
        if (!line.ended) {
            return std::unexpected("the message does not end with an empty line");
        }
        if (line.text.empty()) {
            return parsed;
        }
        if (parsed.signature) {
            continue;
        }
        if (!is_text(line.text)) {
            return std::unexpected("a line holds control characters, or is not UTF-8");
        }
        const auto parameter = split_parameter(line.text);
        if (!parameter) {
            response.other_lines.emplace_back(line.text);
        } else if (parameter->id == Name::authentication_info) {
            parsed.signature = parameter->value;
            parsed.signed_bytes = raw.substr(0, static_cast<std::size_t>(from_here.data() - raw.data()));
        } else {
            response.fields.push_back(
                {parameter->id, std::string{parameter->name}, std::string{parameter->value}});
        }
    }
}

}  // namespace

const std::string* Response::find(Name name) const {
    const auto field = std::ranges::find(fields, name, &ResponseField::id);
    return field == fields.end() ? nullptr : &field->value;
}

std::optional<std::uint64_t> Response::seq() const {
    const std::string* const value = find(Name::seq);
    return value == nullptr ? std::nullopt : parse_number(*value, std::numeric_limits<std::uint64_t>::max());
}

std::vector<std::span<const ResponseField>> Response::entries() const {
    std::vector<std::span<const ResponseField>> entries;
    const auto is_start = [](const ResponseField& field) { return field.id == Name::criteria_id; };
    auto start = std::ranges::find_if(fields, is_start);
    while (start != fields.end()) {
        const auto end = std::find_if(start + 1, fields.end(), is_start);
        entries.emplace_back(start, end);
        start = end;
    }
    return entries;
}

std::expected<Response, std::string> read_response(std::string_view raw, Hmac& key) {
    auto parsed = parse(raw);
    if (!parsed) {
        return std::unexpected(std::move(parsed.error()));
    }
    if (!parsed->signature) {
        return std::unexpected("the message has no AUTHENTICATION-INFO");
    }
    if (!key.verify(parsed->signed_bytes, *parsed->signature)) {
        return std::unexpected("the signature is wrong: another key, or the message was changed");
    }
    return std::move(parsed->response);
}

std::expected<Response, std::string> read_response_unverified(std::string_view raw) {
    auto parsed = parse(raw);
    if (!parsed) {
        return std::unexpected(std::move(parsed.error()));
    }
    return std::move(parsed->response);
}

}  // namespace flowtap::lib::dtcp
