// Counters of the DTCP service: one table that feeds the service, the command line, the metrics and the
// documents.
#pragma once

#include "lib/counters.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::control {

enum class ServiceCounter : std::uint8_t {
    sessions,
    requests,
    answers_ok,
    answers_failed,
    rejected_source,
    rejected_signature,
    rejected_sequence,
    delayed_failures,
    delayed_pace,
    sequence_rollovers,
    datagrams,
    datagrams_not_recorded,
    datagrams_not_sent,
    notifications_sent,
    notifications_dropped,
    notifications_unknown,
    parameters_ignored,
    clients_dropped,
    taps_added,
    taps_deleted,
    taps_changed,
    taps_purged,
    taps_restored,
    taps_not_restored,
    count_,
};

inline constexpr std::array<lib::CounterInfo, static_cast<std::size_t>(ServiceCounter::count_)>
    service_counters{{
        {"sessions", lib::Severity::info, "DTCP sessions that were opened"},
        {"requests", lib::Severity::info, "authentic DTCP requests"},
        {"answers-ok", lib::Severity::info, "requests answered 200"},
        {"answers-failed", lib::Severity::info, "requests answered with another code"},
        {"rejected-source", lib::Severity::warning,
         "messages dropped without an answer: unknown control source, or one of another account"},
        {"rejected-signature", lib::Severity::warning,
         "messages dropped without an answer: wrong or no signature"},
        {"rejected-sequence", lib::Severity::warning,
         "authentic messages dropped without an answer: sequence number seen before or outside the window"},
        {"delayed-failures", lib::Severity::warning,
         "pauses of a session on which authentication failed repeatedly"},
        {"delayed-pace", lib::Severity::info,
         "requests that waited because their source asked faster than its requests-per-second"},
        {"sequence-rollovers", lib::Severity::info, "sources whose UDP sequence numbers have passed zero"},
        {"datagrams", lib::Severity::info, "UDP datagrams received, authentic or not"},
        {"datagrams-not-recorded", lib::Severity::error,
         "UDP messages dropped: their sequence number could not be brought to the medium"},
        {"datagrams-not-sent", lib::Severity::error, "UDP answers that could not be sent"},
        {"notifications-sent", lib::Severity::info, "notifications sent to UDP peers and to sessions"},
        {"notifications-dropped", lib::Severity::error,
         "notifications that were not sent: too many wait, or the network refused them"},
        {"notifications-unknown", lib::Severity::info,
         "notifications that were not sent: the source's notification version does not know them"},
        {"parameters-ignored", lib::Severity::info, "unknown X- parameters in authentic requests"},
        {"clients-dropped", lib::Severity::warning,
         "sessions ended because the client did not read its answers"},
        {"taps-added", lib::Severity::info, "taps that became live"},
        {"taps-deleted", lib::Severity::info, "taps deleted on request"},
        {"taps-changed", lib::Severity::info, "taps that REFRESH, ENABLE or DISABLE gave new terms"},
        {"taps-purged", lib::Severity::warning, "taps deleted because a destination passed its hard limit"},
        {"taps-restored", lib::Severity::info, "taps found in the registry at start"},
        {"taps-not-restored", lib::Severity::error,
         "entries of the registry at start that are damaged, not authentic or not allowed by the "
         "configuration"},
    }};

class ServiceCounters {
  public:
    void add(ServiceCounter index, std::uint64_t amount = 1) {
        values_[static_cast<std::size_t>(index)] += amount;
    }
    std::uint64_t operator[](ServiceCounter index) const { return values_[static_cast<std::size_t>(index)]; }

  private:
    std::array<std::uint64_t, static_cast<std::size_t>(ServiceCounter::count_)> values_{};
};

}  // namespace flowtap::control
