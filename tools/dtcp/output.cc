#include "tools/dtcp/output.h"

#include "lib/dtcp/escape.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>

namespace flowtap::tools::dtcp {
namespace {

using lib::dtcp::Method;
using lib::dtcp::Name;
using lib::dtcp::Response;
using lib::dtcp::ResponseField;
using Json = nlohmann::ordered_json;

constexpr std::array numeric{Name::seq,
                             Name::criteria_id,
                             Name::priority,
                             Name::timeout_idle,
                             Name::timeout_total,
                             Name::timeout_packets,
                             Name::timeout_bytes,
                             Name::jtap_cdest_ttl,
                             Name::remaining_idle,
                             Name::remaining_total,
                             Name::remaining_packets,
                             Name::remaining_bytes,
                             Name::average_bandwidth,
                             Name::alert_bandwidth,
                             Name::max_bandwidth,
                             Name::matching_packets,
                             Name::matching_bytes,
                             Name::dropped_packets,
                             Name::dropped_bytes,
                             Name::num_refresh,
                             Name::criteria_num,
                             Name::criteria_count,
                             Name::num_criteria};

std::string lower(std::string_view text, char dash) {
    std::string result{text};
    std::ranges::transform(result, result.begin(), [dash](char c) {
        return c == '-' ? dash : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return result;
}

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [rest, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
    return wrong == std::errc{} && rest == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

Json json_value(const ResponseField& field) {
    if (std::ranges::find(numeric, field.id) != numeric.end()) {
        if (const auto value = number(field.value)) {
            return *value;
        }
    }
    return lib::dtcp::unescape(field.value).value_or(field.value);
}

Json json_fields(std::span<const ResponseField> fields) {
    Json object = Json::object();
    for (const auto& field : fields) {
        // A parameter given twice: the first counts (dtcp.md section 2).
        object.emplace(lower(field.name, '_'), json_value(field));
    }
    return object;
}

/// The parameters before a LIST's first entry, or all where there is no entry.
std::span<const ResponseField> head(const Response& response) {
    const auto entries = response.entries();
    const std::span<const ResponseField> all{response.fields};
    return entries.empty() ? all : all.first(static_cast<std::size_t>(entries.front().data() - all.data()));
}

Json labelled(const Label& label) {
    return label.line == 0 ? Json::object() : Json{{"line", label.line}, {"command", label.command}};
}

/// "; NAME: value" of each field but those that every answer has.
void append_fields(std::string& text, const Response& response) {
    for (const auto& line : response.other_lines) {
        fmt::format_to(std::back_inserter(text), "; {}", line);
    }
    for (const auto& field : response.fields) {
        if (field.id != Name::seq && field.id != Name::timestamp) {
            fmt::format_to(std::back_inserter(text), "; {}: {}", field.name, field.value);
        }
    }
}

Json json_response(const Response& response) {
    return Json{{"code", response.code}, {"text", response.text}, {"fields", json_fields(response.fields)}};
}

// A server's bytes may be no UTF-8 once their escapes are undone.
std::string dump(const Json& object) {
    return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string list_text(const Answer& answer) {
    std::string text;
    std::size_t count = 0;
    for (const auto& message : answer.messages) {
        for (const auto& entry : message.entries()) {
            ++count;
            for (const auto& field : entry) {
                fmt::format_to(std::back_inserter(text), "{}{}: {}\n", &field == entry.data() ? "" : "  ",
                               lower(field.name, '-'), field.value);
            }
        }
    }
    fmt::format_to(std::back_inserter(text), "{} tap{}\n", count, count == 1 ? "" : "s");
    return text;
}

}  // namespace

Outcome outcome(const Answer& answer) {
    const auto code = answer.messages.back().code;
    if (code >= 200 && code <= 299) {
        return Outcome::done;
    }
    const bool refused = (code >= 400 && code <= 499) || (code >= 900 && code <= 999);
    return refused ? Outcome::refused : Outcome::server_failure;
}

std::string to_text(const Answer& answer, Method method) {
    const auto& response = answer.messages.front();
    const auto value = [&response](Name name) {
        const auto* found = response.find(name);
        return found == nullptr ? std::string{"(not told)"} : *found;
    };
    switch (method) {
        case Method::add:
            return fmt::format("added: criteria-id {}\n", value(Name::criteria_id));
        case Method::delete_:
            return fmt::format("deleted: {}\n", value(Name::criteria_count));
        case Method::refresh:
            return fmt::format("refreshed: {}\n", value(Name::criteria_count));
        case Method::enable:
        case Method::disable:
            return fmt::format("changed: {}\n", value(Name::criteria_count));
        case Method::list:
            return list_text(answer);
        default:
            return fmt::format("{} {}\n", response.code, response.text);
    }
}

std::string refusal(const Answer& answer) {
    const auto& response = answer.messages.back();
    std::string text = fmt::format("the server answers {} {}", response.code, response.text);
    append_fields(text, response);
    return text;
}

std::string notification_text(const Response& notification) {
    const auto* time = notification.find(Name::timestamp);
    std::string text = fmt::format("notification {} {}{}{}", notification.code, notification.text,
                                   time == nullptr ? "" : " at ", time == nullptr ? "" : *time);
    append_fields(text, notification);
    return text + "\n";
}

std::string to_json(const Answer& answer, Method method, const Label& label,
                    std::span<const Response> notifications) {
    const auto& response = answer.messages.back();
    auto object = labelled(label);
    object["outcome"] = to_string(outcome(answer));
    object["code"] = response.code;
    object["text"] = response.text;
    const bool listed = method == Method::list && outcome(answer) == Outcome::done;
    object["fields"] = json_fields(listed ? head(response) : std::span<const ResponseField>{response.fields});
    if (listed) {
        object["entries"] = Json::array();
        for (const auto& message : answer.messages) {
            for (const auto& entry : message.entries()) {
                object["entries"].push_back(json_fields(entry));
            }
        }
    }
    if (!response.other_lines.empty()) {
        object["lines"] = response.other_lines;
    }
    for (const auto& notification : notifications) {
        object["notifications"].push_back(json_response(notification));
    }
    return dump(object);
}

std::string to_json(const Problem& problem, const Label& label) {
    auto object = labelled(label);
    object["outcome"] = to_string(problem.outcome);
    object["error"] = problem.message;
    return dump(object);
}

std::string notification_json(const Response& notification) {
    return dump(Json{{"notification", json_response(notification)}});
}

std::string summary_json(const std::map<Outcome, std::size_t>& counts, std::size_t not_sent) {
    std::size_t requests = not_sent;
    Json summary{{"requests", 0}};
    for (const auto& [what, count] : counts) {
        summary[std::string{to_string(what)}] = count;
        requests += count;
    }
    summary["not-sent"] = not_sent;
    summary["requests"] = requests;
    return dump(Json{{"summary", summary}});
}

}  // namespace flowtap::tools::dtcp
