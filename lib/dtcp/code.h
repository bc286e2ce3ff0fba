// The codes of DTCP responses and notifications (draft-cavuto-dtcp-03 section 6, Juniper's Flow-Tap
// additions).
#pragma once

#include <cstdint>
#include <string_view>

namespace flowtap::lib::dtcp {

enum class Code : std::uint16_t {
    rollover = 130,  ///< notification: the sequence number wrapped
    noop = 131,      ///< notification: NoOp
    ok = 200,
    criterion_timed_out = 390,  ///< notification
    bad_request = 400,
    unknown_cdest = 430,
    unknown_criteria_id = 431,
    improper_filter = 432,
    improper_timeout = 433,
    invalid_authentication = 497,  ///< logged, never sent
    invalid_sequence = 498,        ///< logged, never sent
    invalid_csource = 499,         ///< logged, never sent
    internal_error = 500,
    not_implemented = 501,
    version_not_supported = 505,
    too_many_criteria = 550,
    too_many_cdests = 551,
    congestion = 580,      ///< notification: soft limit
    copies_dropped = 598,  ///< notification
    restart = 599,         ///< notification: criteria were lost
    purged = 680,          ///< notification: hard limit
    jtap_failure = 901,
};

/// The text after the code on a response's first line, as we write it; "UNKNOWN" for a number that is no
/// code.
std::string_view text(Code code);

/// Codes that are for the log only: no answer may carry them.
constexpr bool never_sent(Code code) {
    return code == Code::invalid_authentication || code == Code::invalid_sequence ||
           code == Code::invalid_csource;
}

}  // namespace flowtap::lib::dtcp
