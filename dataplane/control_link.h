// The dataplane's end of the link to control: commands in, completions and events out.
//
// Control is not believed and may die at any moment: taps, associations and traffic are not touched by that,
// and the next control is served. Thread safety: the manager's.
#pragma once

#include "dataplane/stop_switch.h"
#include "dataplane/stop_warrant.h"
#include "dataplane/tasking.h"
#include "lib/command_reader.h"
#include "lib/config.h"
#include "lib/heartbeat.h"
#include "lib/link.h"
#include "lib/region.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

namespace flowtap::dataplane {

class ControlLink {
  public:
    ControlLink(lib::LinkServer server, lib::StatusRegion& status, Tasking& tasking, StopSwitch& stops,
                const lib::Config& config);

    /// Readable when serve() has something to do.
    int fd() const { return server_.fd(); }
    /// Something is under way that needs serve() again soon, readable or not.
    bool busy() const { return tasking_.busy() || !backlog_.empty() || more_commands_; }
    /// A bounded step of all that is to do, and what can be brought to its end in a moment.
    void serve();
    /// Says so in the log when control hangs, or goes on again, tells control of taps that are over, and lets
    /// no frame be stopped when control has been away too long. At least every 100 ms.
    void watch();

    /// Tells control of it, now or as soon as the ring has room. Nobody is told while no control is
    /// connected.
    void report(lib::CompletionKind event, std::uint32_t slot, std::uint64_t id = 0);

    bool connected() const { return session_.has_value(); }
    /// A control has connected since the last call: it has heard no event yet.
    bool take_new_control() { return std::exchange(new_control_, false); }
    /// A resync has been committed since the start.
    bool restored() const { return restored_; }
    /// Records taken from the ring since the start.
    std::uint64_t consumed() const { return consumed_; }

  private:
    struct Session {
        Session(lib::CommandView view, lib::StatusRegion& status);

        lib::CommandView command;
        lib::CommandConsumer commands;
        lib::CompletionProducer completions;
        lib::HeartbeatWatch heartbeat{lib::HeartbeatWatch::Clock::now()};
        lib::Health health = lib::Health::alive;
        bool resynced = false;
    };

    void take_events();
    void take_commands();
    void take_outcome();
    void report_over();
    void watch_health();
    void watch_stops();
    void complete(lib::CompletionRecord record);
    void send_backlog();
    void end_session();
    void drop_corrupt();

    lib::LinkServer server_;
    lib::StatusRegion& status_;
    Tasking& tasking_;
    StopSwitch& stops_;
    StopWarrant warrant_{StopWarrant::Clock::now()};
    lib::CommandReader reader_;
    std::optional<Session> session_;
    std::deque<lib::CompletionRecord> backlog_;
    std::optional<lib::Token> in_progress_;  ///< whose completion the connected control waits for
    bool resync_in_progress_ = false;
    bool more_commands_ = false;
    bool new_control_ = false;
    bool restored_ = false;
    std::uint64_t consumed_ = 0;
};

}  // namespace flowtap::dataplane
