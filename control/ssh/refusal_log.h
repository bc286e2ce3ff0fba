// Counts refused connections by cause, and says so in at most one line a second however many there are.
#pragma once

#include "control/ssh/admission.h"
#include "lib/address.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace flowtap::control::ssh {

class RefusalLog {
  public:
    using TimePoint = std::chrono::steady_clock::time_point;

    static constexpr std::chrono::seconds interval{1};

    void count(Verdict cause, const lib::IpAddress& client);

    /// The line that is due at `now`: what was refused since the last one, the totals, the last client of
    /// each cause. Nothing when nothing new was refused, or less than a second after the last line.
    std::optional<std::string> line(TimePoint now);

    /// How long until line() may have something to say; nothing when nothing was refused since the last line.
    std::optional<std::chrono::milliseconds> due_in(TimePoint now) const;

    std::uint64_t total(Verdict cause) const;

  private:
    struct Cause {
        std::uint64_t total = 0;
        std::uint64_t told = 0;  ///< of the total, those in lines already
        lib::IpAddress last;
    };
    bool news() const;

    std::array<Cause, refusals.size() + 1> causes_{};  ///< indexed by Verdict
    std::optional<TimePoint> last_line_;
};

}  // namespace flowtap::control::ssh
