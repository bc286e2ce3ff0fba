// A log line about a state that may change too often for a line each time: at most one a second, about the
// state as it is then.
#pragma once

#include <chrono>
#include <string>
#include <utility>

namespace flowtap::dataplane {

class PacedLine {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds interval{1};

    void changed() { ++changes_; }

    /// How many changes a line has to tell of now; 0: no line, or none yet.
    unsigned due(Clock::time_point now) {
        if (changes_ == 0 || now < next_) {
            return 0;
        }
        next_ = now + interval;
        return std::exchange(changes_, 0U);
    }

  private:
    unsigned changes_ = 0;
    Clock::time_point next_;
};

/// What is added to a line that tells of so many changes.
inline std::string more_changes(unsigned changes) {
    return changes < 2 ? "" : " (" + std::to_string(changes) + " changes since the last line)";
}

}  // namespace flowtap::dataplane
