// The wires whose configuration says mirror-link-loss: looks at their links, and does what LinkMirror
// decides.
//
// Thread safety: the manager's thread only, which keeps the capability that some devices need for it.
#pragma once

#include "dataplane/failure.h"
#include "dataplane/link_mirror.h"
#include "dataplane/paced_line.h"
#include "dataplane/port.h"
#include "lib/config.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace flowtap::dataplane {

class MirroredWires {
  public:
    using Clock = LinkMirror::Clock;
    /// So often look() is to be called: the other side is down a few of these after the first one was lost.
    static constexpr std::chrono::milliseconds interval{10};

    /// Brings the links of these wires up. Fails by naming a port whose device cannot do it. The ports have
    /// been started.
    static Result<MirroredWires> create(const lib::Config& config,
                                        std::span<const std::unique_ptr<Port>> ports);

    bool any() const { return !wires_.empty(); }
    /// Taking a link down or bringing it up needs CAP_NET_ADMIN, now and later.
    bool need_net_admin() const { return need_net_admin_; }

    void look(Clock::time_point now);
    /// The port's link is taken down since its wire's other side is lost.
    bool held(std::size_t port) const;
    /// Brings up what was taken down: an interface outlives this process.
    void release();

  private:
    struct Wire {
        const lib::WireConfig* config;
        Port* a;
        Port* b;
        LinkMirror mirror;
        LinkMirror::Step last{};
        PacedLine line;
        Clock::time_point next_try;  ///< after a failure
    };

    void take(Wire& wire, LinkMirror::Step step, Clock::time_point now);

    std::vector<Wire> wires_;
    bool need_net_admin_ = false;
};

}  // namespace flowtap::dataplane
