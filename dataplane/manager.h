// The manager: everything that is neither a frame nor a copy.
//
// It serves control, watches ports and associations, opens the gate for the workers and ends them. It runs on
// the main lcore, never on a worker's core. Thread safety: one thread.
#pragma once

#include "dataplane/control_link.h"
#include "dataplane/failure.h"
#include "dataplane/mirrored_wires.h"
#include "dataplane/paced_line.h"
#include "dataplane/port.h"
#include "dataplane/sa_table.h"
#include "dataplane/tasking.h"
#include "dataplane/wall_clock.h"
#include "dataplane/worker.h"
#include "lib/config.h"
#include "lib/file_descriptor.h"
#include "lib/status.h"

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <span>

namespace flowtap::dataplane {

/// Blocks SIGTERM and SIGINT in this thread, and all that it starts, and gives a descriptor that becomes
/// readable when one arrives.
Result<lib::FileDescriptor> catch_stop_signals();

class Manager {
  public:
    struct Parts {
        const lib::Config& config;
        std::span<const std::unique_ptr<Port>> ports;  ///< null: not used
        lib::Status& status;
        ControlLink& link;
        Tasking& tasking;
        match::TapTable& taps;
        SaTable& sas;
        WallClock& clock;
        MirroredWires& mirrored;
        Orders& orders;
        int stop_signals = -1;
    };

    explicit Manager(const Parts& parts);

    /// Until a stop signal. The workers must have been launched; they have been told to stop on return.
    void run();

  private:
    using Clock = std::chrono::steady_clock;

    void wait(Clock::time_point tick);
    void open_gate(Clock::time_point now);
    void watch_ports(Clock::time_point now);
    void watch_link(std::size_t index, Clock::time_point now);
    void watch_sas();
    void set_state(lib::DataplaneState state);

    Parts parts_;
    bool stop_ = false;
    bool forwarding_ = false;
    Clock::time_point gate_;                       ///< when traffic starts even without control
    std::optional<Clock::time_point> busy_since_;  ///< unset: idle
    std::uint64_t consumed_ = 0;
    std::array<PacedLine, lib::max_ports> link_lines_;
    std::array<std::uint64_t, lib::max_ports> tx_errors_{};  ///< said so far
    std::array<Clock::time_point, lib::max_ports> next_complaint_{};
};

/// A line a port and one for the copies: counts, no addresses.
void log_summary(const lib::Config& config, const lib::Status& status);

}  // namespace flowtap::dataplane
