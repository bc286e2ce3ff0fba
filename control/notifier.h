// Notifications on their way to the sources that they are for (dtcp.md sections 4 and 9): written in the
// source's notification version, signed with its key, for its UDP peers and, where its configuration says so,
// for its open sessions. Queues are bounded: what is too much is dropped and counted. No I/O.
//
// Not thread-safe: one owner.
#pragma once

#include "control/clock.h"
#include "control/service_counters.h"
#include "control/sources.h"
#include "lib/config.h"
#include "lib/dtcp/notification.h"

#include <cstddef>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace flowtap::control {

/// Whether a client of that version can know the notification (docs/decisions.md).
bool knows(lib::dtcp::Version version, lib::dtcp::Code notification);

class Notifier {
  public:
    /// Notifications of one source that wait for the transport.
    static constexpr std::size_t most_waiting = 16'384;

    struct ToPeer {
        lib::Endpoint peer;
        std::string text;
    };
    struct ToSessions {
        SourceIndex source{};
        std::string text;
    };

    /// Both must outlive this.
    Notifier(Sources& sources, ServiceCounters& counters)
        : sources_{sources}, counters_{counters}, to_peers_(sources.size()) {}

    void notify(SourceIndex source, const lib::dtcp::Notification& notification, Now now);
    /// The same to every source.
    void notify_all(const lib::dtcp::Notification& notification, Now now);

    /// The next datagram; sources take turns. Nothing: false.
    bool take(ToPeer& next);
    std::vector<ToSessions> take_for_sessions() { return std::exchange(to_sessions_, {}); }

  private:
    Sources& sources_;
    ServiceCounters& counters_;
    std::vector<std::deque<ToPeer>> to_peers_;  ///< by source
    std::size_t turn_ = 0;
    std::vector<ToSessions> to_sessions_;
};

}  // namespace flowtap::control
