// What the security log is told: that somebody may have tried something. No event holds an identity of a
// target, or a source's name: sources are named by their place in the configuration.
#pragma once

#include "control/sources.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace flowtap::control {

enum class SecurityReason : std::uint8_t {
    no_source,           ///< 499: no Csource-ID, or one that is not configured
    foreign_source,      ///< 499: a source that the peer's account may not speak as
    no_signature,        ///< 497
    bad_signature,       ///< 497
    udp_not_allowed,     ///< 499: a source that may not use UDP
    no_sequence,         ///< 498: an authentic datagram without a readable number
    no_sequence_record,  ///< 498: nobody knows what the source has sent before (see sequence_store.h)
    sequence_seen,       ///< 498: a replay
    sequence_outside,    ///< 498: not within the window
    sequence_rollover,   ///< accepted; the source's numbers have passed zero
    message_too_long,    ///< a stream that cannot be split into messages any more
    bad_sequence,        ///< 498
    failing_again,       ///< authentication fails again and again on a session, which is delayed now
    client_not_reading,  ///< dropped: its answers were not read
    taps_not_restored,   ///< entries of the registry that are no authentic taps of this configuration
};

constexpr std::string_view to_string(SecurityReason reason) {
    switch (reason) {
        case SecurityReason::no_source:
            return "authentication failed: unknown control source";
        case SecurityReason::foreign_source:
            return "authentication failed: control source of another account";
        case SecurityReason::no_signature:
            return "authentication failed: no signature";
        case SecurityReason::bad_signature:
            return "authentication failed: wrong signature";
        case SecurityReason::udp_not_allowed:
            return "authentication failed: control source that may not use UDP";
        case SecurityReason::no_sequence:
            return "message dropped: no sequence number";
        case SecurityReason::no_sequence_record:
            return "message dropped: the source's key has no good sequence record: run flowtap-control "
                   "--new-keys if the key is new, or --reset-sequence";
        case SecurityReason::sequence_seen:
            return "message dropped: sequence number seen before";
        case SecurityReason::sequence_outside:
            return "message dropped: sequence number outside the window";
        case SecurityReason::sequence_rollover:
            return "sequence numbers have passed zero";
        case SecurityReason::message_too_long:
            return "message too long";
        case SecurityReason::bad_sequence:
            return "wrong sequence number";
        case SecurityReason::failing_again:
            return "authentication fails repeatedly: the session is delayed";
        case SecurityReason::client_not_reading:
            return "client dropped: it does not read";
        case SecurityReason::taps_not_restored:
            return "entries of the registry were not restored";
    }
    return "unknown";
}

struct SecurityEvent {
    SecurityReason reason{};
    std::optional<SourceIndex> source;
    std::string user;  ///< account of the peer
};

}  // namespace flowtap::control
