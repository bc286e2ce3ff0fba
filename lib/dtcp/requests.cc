#include "lib/dtcp/requests.h"

#include "lib/dtcp/options.h"
#include "lib/dtcp/value.h"

#include <algorithm>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

/// The selector that DELETE and REFRESH must have.
std::expected<Selector, Failure> require_selector(const Request& request) {
    auto selector = parse_selector(request);
    if (!selector) {
        return std::unexpected(std::move(selector.error()));
    }
    if (!*selector) {
        return fail(Code::bad_request, nullptr, "neither Criteria-ID nor Cdest-ID");
    }
    return std::move(**selector);
}

template <typename Typed>
std::expected<TypedRequest, Failure> widen(std::expected<Typed, Failure> typed) {
    if (!typed) {
        return std::unexpected(std::move(typed.error()));
    }
    return TypedRequest{std::move(*typed)};
}

}  // namespace

bool CriteriaIds::selects(std::uint64_t id) const {
    bool positive = false;
    bool hit = false;
    for (const IdTerm& term : terms) {
        const bool inside = term.first <= id && id <= term.last;
        if (term.negated && inside) {
            return false;
        }
        positive |= !term.negated;
        hit |= !term.negated && inside;
    }
    return !positive || hit;
}

std::expected<DeleteRequest, Failure> parse_delete(const Request& request) {
    if (request.failure()) {
        return std::unexpected(*request.failure());
    }
    auto selector = require_selector(request);
    if (!selector) {
        return std::unexpected(std::move(selector.error()));
    }
    const auto flags = parse_flags(request, {Flag::static_});
    if (!flags) {
        return std::unexpected(flags.error());
    }
    return DeleteRequest{std::move(*selector), flags->has(Flag::static_)};
}

std::expected<RefreshRequest, Failure> parse_refresh(const Request& request) {
    if (request.failure()) {
        return std::unexpected(*request.failure());
    }
    auto selector = require_selector(request);
    if (!selector) {
        return std::unexpected(std::move(selector.error()));
    }
    const auto timeouts = parse_timeouts(request);
    if (!timeouts) {
        return std::unexpected(timeouts.error());
    }
    const Parameter* const first = find_timeout(request);
    if (first == nullptr) {
        return fail(Code::improper_timeout, nullptr, "no timeout");
    }
    return RefreshRequest{std::move(*selector), *timeouts, std::string{first->line}};
}

std::expected<ListRequest, Failure> parse_list(const Request& request) {
    if (request.failure()) {
        return std::unexpected(*request.failure());
    }
    auto selector = parse_selector(request);
    if (!selector) {
        return std::unexpected(std::move(selector.error()));
    }
    const auto flags = parse_flags(request, {Flag::criteria, Flag::stats, Flag::both});
    if (!flags) {
        return std::unexpected(flags.error());
    }
    ListRequest list;
    if (*selector) {
        std::visit([&list](auto& chosen) { list.selector = std::move(chosen); }, **selector);
    }
    const bool both = flags->empty() || flags->has(Flag::both);
    list.criteria = both || flags->has(Flag::criteria);
    list.statistics = both || flags->has(Flag::stats);
    return list;
}

std::expected<NoopRequest, Failure> parse_noop(const Request& request) {
    if (request.failure()) {
        return std::unexpected(*request.failure());
    }
    const auto flags = parse_flags(request, {Flag::send_async});
    if (!flags) {
        return std::unexpected(flags.error());
    }
    return NoopRequest{flags->has(Flag::send_async)};
}

std::expected<PolicyRequest, Failure> parse_policy(const Request& request) {
    if (request.failure()) {
        return std::unexpected(*request.failure());
    }
    const Parameter* const criteria = request.find(Name::criteria_id);
    if (criteria == nullptr) {
        return fail(Code::bad_request, nullptr, "no Criteria-ID");
    }
    auto ids = parse_criteria_ids(*criteria);
    if (!ids) {
        return std::unexpected(std::move(ids.error()));
    }
    const Parameter* const policy = request.find(Name::drop_policy);
    if (policy == nullptr) {
        return fail(Code::bad_request, nullptr, "no X-Drop-Policy");
    }
    auto name = parse_name(*policy);
    if (!name) {
        return std::unexpected(std::move(name.error()));
    }
    const auto flags = parse_flags(request, {Flag::static_});
    if (!flags) {
        return std::unexpected(flags.error());
    }
    return PolicyRequest{request.method() == Method::enable, std::move(*ids), std::move(*name),
                         flags->has(Flag::static_), std::string{policy->line}};
}

std::expected<TypedRequest, Failure> parse_typed(const Request& request) {
    switch (request.method()) {
        case Method::add:
            return widen(parse_add(request));
        case Method::delete_:
            return widen(parse_delete(request));
        case Method::refresh:
            return widen(parse_refresh(request));
        case Method::list:
            return widen(parse_list(request));
        case Method::noop:
            return widen(parse_noop(request));
        case Method::enable:
        case Method::disable:
            return widen(parse_policy(request));
        case Method::unknown:
            break;
    }
    // Such a request has a failure already: 400, 501 or 505.
    return request.failure() ? std::unexpected(*request.failure())
                             : std::unexpected(Failure{Code::not_implemented, {}, "unknown method"});
}

}  // namespace flowtap::lib::dtcp
