// Whether an ADD may become a tap, and which: the questions that need the configuration.
//
// Pure functions. Answers do not depend on what other sources have or may do (dtcp.md section 3): a
// configured destination that the source may not use is answered like one that does not exist.
#pragma once

#include "lib/config.h"
#include "lib/criterion.h"
#include "lib/dtcp/add.h"
#include "lib/records.h"

#include <expected>
#include <memory>
#include <string>
#include <vector>

namespace flowtap::control {

/// What of a tap is read for LIST and DELETE only. Shared with answers that are being written.
struct TapText {
    std::string cdest_ids;            ///< as given
    std::vector<std::string> cdests;  ///< unescaped, one each
    std::string given_filter;         ///< AddRequest::given_filter
    std::string given;                ///< AddRequest::given
};

/// A tap as it is to be installed.
struct TapPlan {
    lib::Criterion criterion;
    std::vector<lib::TapDestination> destinations;  ///< complete but for the Criteria-ID (shims.h)
    bool has_intercept_id = false;
    std::shared_ptr<const TapText> text;
    bool is_static = false;
    bool send_async = false;
    lib::dtcp::Timeouts timeouts;  ///< none of a static tap
    std::uint8_t priority = 1;     ///< 1..255; the lowest is purged first
    lib::TapAction action = lib::TapAction::copy;
};

/// What the configuration says of copies to the address and port, under whatever name: of several entries the
/// first. Null: nothing.
const lib::DestinationConfig* settings_of(const lib::Config& config, const lib::IpAddress& address,
                                          std::uint16_t port);

/// 400, 430, 432, 501 or 901 with the offending line. 501: an action that the source may not use, or that is
/// not enforced for such a tap (whole frames are only copied); never silently accepted.
std::expected<TapPlan, lib::dtcp::Failure> admit(const lib::dtcp::Request& request, lib::dtcp::AddRequest add,
                                                 const lib::Config& config, const lib::SourceConfig& source);

}  // namespace flowtap::control
