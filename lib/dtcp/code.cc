#include "lib/dtcp/code.h"

namespace flowtap::lib::dtcp {

std::string_view text(Code code) {
    switch (code) {
        case Code::rollover:
            return "ROLLOVER";
        case Code::noop:
            return "NOOP";
        case Code::ok:
            return "OK";
        case Code::criterion_timed_out:
            return "TIMEOUT";
        case Code::bad_request:
            return "BAD REQUEST";
        case Code::unknown_cdest:
            return "UNKNOWN CONTENT DESTINATION";
        case Code::unknown_criteria_id:
            return "UNKNOWN CRITERIA ID";
        case Code::improper_filter:
            return "IMPROPER FILTER SPECIFICATION";
        case Code::improper_timeout:
            return "IMPROPER TIMEOUT SPECIFICATION";
        case Code::invalid_authentication:
            return "INVALID AUTHENTICATION";
        case Code::invalid_sequence:
            return "INVALID SEQUENCE NUMBER";
        case Code::invalid_csource:
            return "INVALID CONTROL SOURCE";
        case Code::internal_error:
            return "INTERNAL ERROR";
        case Code::not_implemented:
            return "NOT IMPLEMENTED";
        case Code::version_not_supported:
            return "VERSION NOT SUPPORTED";
        case Code::too_many_criteria:
            return "TOO MANY CRITERIA";
        case Code::too_many_cdests:
            return "TOO MANY CONTENT DESTINATIONS";
        case Code::congestion:
            return "CONGESTION";
        case Code::copies_dropped:
            return "COPIES DROPPED";
        case Code::restart:
            return "RESTART";
        case Code::purged:
            return "CRITERIA PURGED";
        case Code::jtap_failure:
            return "JTAP-FAILURE";
    }
    return "UNKNOWN";
}

}  // namespace flowtap::lib::dtcp
