// Notifications: messages of the server's own accord, with TIMESTAMP and without SEQ (dtcp.md sections 3 and
// 9).
#pragma once

#include "lib/dtcp/add.h"
#include "lib/dtcp/auth.h"
#include "lib/dtcp/code.h"
#include "lib/dtcp/message.h"
#include "lib/dtcp/timestamp.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace flowtap::lib::dtcp {

struct RolloverNotification {};

struct NoopNotification {};

/// 390: the timeouts that the criterion had, specified and what was left of each.
struct TimeoutNotification {
    std::uint64_t criteria_id = 0;
    Timeouts specified{};
    Timeouts remaining{};
};

/// 580, bandwidths in bit/s.
struct CongestionNotification {
    std::string_view cdest_id{};
    std::uint64_t average = 0;
    std::uint64_t alert = 0;
    std::uint64_t maximum = 0;
};

/// 598
struct DroppedNotification {
    std::string_view cdest_id{};  ///< in DTCP's syntax, as the ADD gave it: perhaps a list
    std::uint64_t criteria_id = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
};

/// 599
struct RestartNotification {
    std::string_view reason{};
};

/// 680: the source's own criteria only.
struct PurgedNotification {
    std::string_view cdest_id{};
    std::span<const std::uint64_t> criteria_ids{};
};

using Notification =
    std::variant<RolloverNotification, NoopNotification, TimeoutNotification, CongestionNotification,
                 DroppedNotification, RestartNotification, PurgedNotification>;

Code code(const Notification& notification);

/// Whole and signed. Whether the version knows the notification is the service's question.
std::string write_notification(Version version, const Notification& notification, Timestamp now, Hmac& key);

}  // namespace flowtap::lib::dtcp
