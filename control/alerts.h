// What the sources are to be told of their taps, and the deletion of taps beyond a destination's hard limit:
// timeouts (390), congestion (580), lost copies (598), purges (680), NOOPs with SendAsync (131). Looks at the
// taps once a second. No I/O.
//
// A source hears of its own taps only; of a destination that it shares with others it hears the destination's
// average, as the protocol wants it. A limit is of a configured destination's address and port, whatever name
// an ADD gave it: each source is told its own name of it.
//
// Not thread-safe: one owner.
#pragma once

#include "control/congestion.h"
#include "control/notifier.h"
#include "control/tap_event.h"
#include "control/tasking.h"
#include "lib/config.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace flowtap::control {

class Alerts {
  public:
    /// Criteria-IDs of one 680: it must fit a datagram.
    static constexpr std::size_t most_purged_ids = 64;

    /// All must outlive this.
    Alerts(const lib::Config& config, Tasking& tasking, Notifier& notifier, ServiceCounters& counters);

    /// From Tasking::take_events() and Service::take_noops(), before anything else is done to the taps.
    void ended(const std::vector<TapEvent>& events, Now now);
    void asked(const std::vector<NoopEvent>& noops, Now now);

    /// When tasking has started, before it reads any counter: what an earlier process has seen of the taps'
    /// losses, it has told. Does nothing later.
    void begin();
    /// Once a second.
    void tick(Now now);

  private:
    struct Limited {
        const lib::DestinationConfig* config = nullptr;
        SoftLimit soft{};
    };
    /// What was lost of a tap's copies until its last 598.
    struct Lost {
        lib::TapId id{};
        std::uint64_t packets = 0;
        std::uint64_t bytes = 0;
    };
    struct Purged {
        lib::TapSlot slot{};
        std::string cdest;
    };

    /// The tap's own name of the destination; nullptr: it does not copy there.
    static const std::string* name_of(const Tap& tap, const lib::DestinationConfig& destination);
    Bandwidth load_of(const Tap& tap, const TapTotals& totals, Now now) const;
    void report_lost(const Tap& tap, const TapTotals& totals, Now now);
    void judge(Limited& limited, const std::vector<LoadedTap>& taps, Now now);
    void warn(const Limited& limited, Bandwidth average, Now now);
    void purge(const Limited& limited, const std::vector<lib::TapSlot>& slots, Now now);

    Tasking& tasking_;
    Notifier& notifier_;
    ServiceCounters& counters_;
    std::vector<Limited> limited_;
    std::unordered_map<lib::TapSlot, Lost> lost_;
    std::map<lib::TapId, Purged> purged_;  ///< on their way out
    bool begun_ = false;
};

}  // namespace flowtap::control
