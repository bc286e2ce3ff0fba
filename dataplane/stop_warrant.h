// How long frames may be stopped while nobody is there to say that it ends: a tap's timeouts, its DELETE and
// its limits reach this process through control. Copies may go on without it; traffic is not kept back for a
// dead process's word.
//
// Thread safety: the manager's.
#pragma once

#include <chrono>

namespace flowtap::dataplane {

class StopWarrant {
  public:
    using Clock = std::chrono::steady_clock;

    /// A restart of control takes seconds.
    static constexpr std::chrono::seconds lifetime{30};

    explicit StopWarrant(Clock::time_point now) : renewed_(now) {}

    /// `in_charge`: control is connected, alive, and has said which taps there are. Returns whether frames
    /// may be stopped.
    bool observe(Clock::time_point now, bool in_charge) {
        if (in_charge) {
            renewed_ = now;
        }
        return now - renewed_ < lifetime;
    }

  private:
    Clock::time_point renewed_;
};

}  // namespace flowtap::dataplane
