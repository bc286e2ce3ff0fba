#include "lib/dtcp/options.h"

#include "lib/dtcp/value.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

constexpr std::array<std::string_view, 5> flag_names{"static", "sendasync", "criteria", "stats", "both"};

constexpr std::array timeout_names{Name::timeout_idle, Name::timeout_total, Name::timeout_packets,
                                   Name::timeout_bytes};

/// Whether the parameter is missing or a number in range, which `timeout` then holds.
template <std::unsigned_integral Number>
bool take_timeout(const Parameter* parameter, Number largest, std::optional<Number>& timeout) {
    if (parameter != nullptr) {
        timeout = parse_number(parameter->value, largest);
    }
    return parameter == nullptr || timeout.has_value();
}

}  // namespace

std::expected<Flags, Failure> parse_flags(const Request& request, std::initializer_list<Flag> taken) {
    Flags flags;
    const Parameter* const parameter = request.find(Name::flags);
    if (parameter == nullptr) {
        return flags;
    }
    if (parameter->value.empty()) {
        return fail(Code::bad_request, parameter, "no flag");
    }
    const bool good = for_each_entry(parameter->value, [&](std::string_view entry) {
        std::string storage;
        const auto word = plain(entry, storage);
        const auto flag = std::ranges::find_if(taken, [&](Flag candidate) {
            return word && equal_ignoring_case(*word, flag_names[static_cast<std::size_t>(candidate)]);
        });
        if (flag == taken.end()) {
            return false;
        }
        flags.set(*flag);
        return true;
    });
    if (!good) {
        return fail(Code::not_implemented, parameter, "a flag that the method does not take");
    }
    return flags;
}

std::expected<Timeouts, Failure> parse_timeouts(const Request& request) {
    constexpr auto unlimited = std::numeric_limits<std::uint64_t>::max();
    Timeouts timeouts;
    const std::array<const Parameter*, 4> given{
        request.find(Name::timeout_idle), request.find(Name::timeout_total),
        request.find(Name::timeout_packets), request.find(Name::timeout_bytes)};
    const std::array good{take_timeout(given[0], max_timeout_seconds, timeouts.idle),
                          take_timeout(given[1], max_timeout_seconds, timeouts.total),
                          take_timeout(given[2], unlimited, timeouts.packets),
                          take_timeout(given[3], unlimited, timeouts.bytes)};
    const auto bad = std::ranges::find(good, false);
    if (bad != good.end()) {
        return fail(Code::improper_timeout, given[static_cast<std::size_t>(bad - good.begin())],
                    "not a number, or out of range: 0 to 86400 seconds, or 64 bits");
    }
    return timeouts;
}

const Parameter* find_timeout(const Request& request) {
    for (const Name name : timeout_names) {
        if (const Parameter* const parameter = request.find(name); parameter != nullptr) {
            return parameter;
        }
    }
    return nullptr;
}

std::expected<CriteriaIds, Failure> parse_criteria_ids(const Parameter& parameter) {
    CriteriaIds ids{.terms = {}, .line = std::string{parameter.line}};
    const std::size_t count = count_entries(parameter.value);
    if (count > max_terms) {
        return fail(Code::bad_request, &parameter, "more than 1,024 entries");
    }
    ids.terms.reserve(count);
    const bool good = for_each_entry(parameter.value, [&](std::string_view entry) {
        const auto range = parse_range(entry, std::numeric_limits<std::uint64_t>::max());
        if (range) {
            ids.terms.push_back({range->first, range->last, range->negated, !range->single});
        }
        return range.has_value();
    });
    if (!good) {
        return fail(Code::bad_request, &parameter, "not a list of criteria IDs");
    }
    return ids;
}

std::expected<std::optional<Selector>, Failure> parse_selector(const Request& request) {
    const Parameter* const criteria = request.find(Name::criteria_id);
    const Parameter* const cdest = request.find(Name::cdest_id);
    if (criteria != nullptr && cdest != nullptr) {
        return fail(Code::bad_request, std::max(criteria, cdest), "both Criteria-ID and Cdest-ID");
    }
    if (criteria != nullptr) {
        auto ids = parse_criteria_ids(*criteria);
        if (!ids) {
            return std::unexpected(std::move(ids.error()));
        }
        return Selector{std::move(*ids)};
    }
    if (cdest != nullptr) {
        auto id = parse_name(*cdest);
        if (!id) {
            return std::unexpected(std::move(id.error()));
        }
        return Selector{CdestId{std::move(*id), std::string{cdest->line}}};
    }
    return std::nullopt;
}

std::expected<std::string, Failure> parse_name(const Parameter& parameter) {
    auto name = parameter.value.find(',') == std::string_view::npos ? parse_identifier(parameter.value)
                                                                    : std::nullopt;
    if (!name) {
        return fail(Code::bad_request, &parameter, "not one identifier");
    }
    return std::move(*name);
}

}  // namespace flowtap::lib::dtcp
