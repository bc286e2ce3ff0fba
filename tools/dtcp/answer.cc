#include "tools/dtcp/answer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string>
#include <utility>

namespace flowtap::tools::dtcp {
namespace {

using lib::dtcp::Code;
using lib::dtcp::Method;
using lib::dtcp::Name;
using lib::dtcp::Response;
using lib::dtcp::ResponseField;

std::optional<std::uint64_t> number(std::span<const ResponseField> fields, Name name) {
    const auto field = std::ranges::find(fields, name, &ResponseField::id);
    if (field == fields.end()) {
        return std::nullopt;
    }
    std::uint64_t value = 0;
    const auto& text = field->value;
    const auto [rest, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
    return wrong == std::errc{} && rest == text.data() + text.size() ? std::optional{value} : std::nullopt;
}

std::uint64_t first_number(const Response& response) {
    const auto entries = response.entries();
    return entries.empty() ? 0 : number(entries.front(), Name::criteria_num).value_or(0);
}

}  // namespace

bool is_notification(const Response& response) {
    constexpr std::array codes{Code::rollover,   Code::noop,           Code::criterion_timed_out,
                               Code::congestion, Code::copies_dropped, Code::restart,
                               Code::purged};
    return response.is_notification() &&
           std::ranges::find(codes, static_cast<Code>(response.code)) != codes.end();
}

std::optional<Answer> AnswerParts::add(Response response) {
    const auto first = first_number(response);
    if (first != 0 && numbers_.contains(first)) {
        return std::nullopt;
    }
    const bool done = whole(response);
    answer_.messages.push_back(std::move(response));
    if (!done) {
        return std::nullopt;
    }
    std::ranges::stable_sort(answer_.messages, {}, first_number);
    return std::move(answer_);
}

/// Entries are numbered, and each says how many there are in all; in version 0.5 only the last message does.
bool AnswerParts::whole(const Response& latest) {
    const auto entries = latest.entries();
    if (method_ != Method::list || latest.code != static_cast<std::uint16_t>(Code::ok)) {
        return true;
    }
    if (const auto total = number(latest.fields, Name::num_criteria)) {
        total_ = total;
    }
    for (const auto& entry : entries) {
        if (const auto place = number(entry, Name::criteria_num)) {
            numbers_.insert(*place);
        } else {
            ++unnumbered_;
        }
        if (const auto total = number(entry, Name::criteria_count)) {
            total_ = total;
        }
    }
    if (total_) {
        return numbers_.size() + unnumbered_ >= *total_;
    }
    return entries.empty() || latest.version > lib::dtcp::version_0_5;
}

}  // namespace flowtap::tools::dtcp
