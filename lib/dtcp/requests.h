// The other requests as typed values (dtcp.md section 5). They own their strings.
//
// Every parse function gives failure() of the request, where there is one; else its own failure with the
// line.
#pragma once

#include "lib/dtcp/add.h"
#include "lib/dtcp/message.h"

#include <cstdint>
#include <expected>
#include <string>
#include <variant>
#include <vector>

namespace flowtap::lib::dtcp {

/// One entry of a Criteria-ID list, both ends included.
struct IdTerm {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    bool negated = false;
    bool range = false;  ///< written as a range or `*`: selects what exists in it, and is never unknown (431)

    bool operator==(const IdTerm&) const = default;
};

/// Criteria-ID: at most max_terms entries of the form of numbers in filters.
struct CriteriaIds {
    std::vector<IdTerm> terms;
    std::string line;  ///< as it came

    /// The rule of filter lists: (no positive term, or one holds it) and no negated term holds it.
    bool selects(std::uint64_t id) const;
};

struct CdestId {
    std::string id;
    std::string line;  ///< as it came
};

using Selector = std::variant<CriteriaIds, CdestId>;

struct DeleteRequest {
    Selector selector;
    bool including_static = false;
};

/// At least one timeout is given; zeros are left to the service, which knows what else the criterion has.
struct RefreshRequest {
    Selector selector;
    Timeouts timeouts;
    std::string timeout_line;  ///< the first timeout's, as it came
};

struct ListRequest {
    std::variant<std::monostate, CriteriaIds, CdestId> selector;  ///< monostate: all of the source's
    bool criteria = true;
    bool statistics = true;
};

struct NoopRequest {
    bool send_async = false;
};

/// ENABLE and DISABLE: whether copies that the policy matches are suppressed.
struct PolicyRequest {
    bool enable = false;
    CriteriaIds ids;
    std::string policy;  ///< X-Drop-Policy
    bool including_static = false;
    std::string policy_line;  ///< X-Drop-Policy, as it came
};

std::expected<DeleteRequest, Failure> parse_delete(const Request& request);
std::expected<RefreshRequest, Failure> parse_refresh(const Request& request);
std::expected<ListRequest, Failure> parse_list(const Request& request);
std::expected<NoopRequest, Failure> parse_noop(const Request& request);
std::expected<PolicyRequest, Failure> parse_policy(const Request& request);

using TypedRequest =
    std::variant<AddRequest, DeleteRequest, RefreshRequest, ListRequest, NoopRequest, PolicyRequest>;

/// By the method.
std::expected<TypedRequest, Failure> parse_typed(const Request& request);

}  // namespace flowtap::lib::dtcp
