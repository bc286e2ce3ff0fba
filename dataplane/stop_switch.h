// Whether any frame may be kept from being sent on: there is a tap whose action does so, and somebody is
// there to end it.
//
// Thread safety: the manager writes, workers read. Invariants: 1. it is on before the first burst that is
// classified with such a tap, if there is somebody; 2. off, it costs a worker one load a burst that matched.
#pragma once

#include <atomic>
#include <cstdint>

namespace flowtap::dataplane {

class StopSwitch {
  public:
    bool on() const { return on_.load(std::memory_order_relaxed); }

    // Manager

    /// Taps that stop frames; counted from before the commit that brings them until nobody can see them.
    void count(std::int32_t change) {
        taps_ += static_cast<std::uint32_t>(change);
        update();
    }
    std::uint32_t taps() const { return taps_; }
    void permit(bool permitted) {
        permitted_ = permitted;
        update();
    }
    bool permitted() const { return permitted_; }

  private:
    // A commit is published with release order after it, so a worker that sees the tap sees this.
    void update() { on_.store(taps_ != 0 && permitted_, std::memory_order_relaxed); }

    std::atomic<bool> on_ = false;
    std::uint32_t taps_ = 0;
    bool permitted_ = true;
};

}  // namespace flowtap::dataplane
