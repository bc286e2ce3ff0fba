// From what the kernel knows of the neighbours to where the delivery port sends: of each IP version the first
// gateway that answers, in the order of the configuration; of a tunnel whose remote end is on the link, that.
// While none answers, it stays where it was: a storm in which answers are lost must not cost copies, and to
// send them to a gateway that is dead loses nothing that would not be lost.
//
// Thread safety: one thread at a time; NextHops and the status counters have readers of their own.
#pragma once

#include "dataplane/next_hops.h"
#include "dataplane/slow_path/neighbour_message.h"
#include "lib/config.h"
#include "lib/status.h"

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

namespace flowtap::dataplane::slow_path {

class NextHopKeeper {
  public:
    /// All outlive it. `shown`: what each neighbour of lib::next_hop_addresses() is at.
    NextHopKeeper(const lib::Config& config, NextHops& hops,
                  std::array<lib::Counter, lib::max_next_hops>& shown);

    /// The neighbours whose MAC addresses are wanted.
    const std::vector<lib::IpAddress>& addresses() const { return addresses_; }

    /// All that is known follows; what is not in it until end() is known no more.
    void begin();
    void learn(const Neighbour& neighbour);
    void end();

  private:
    /// A way out, and the places in addresses_ that it may go by, the preferred ones first.
    struct Way {
        std::optional<lib::Family> family;  ///< unset: of a tunnel
        std::size_t tunnel = 0;
        std::vector<std::size_t> places;
    };

    void set(std::size_t place, NextHop hop);
    void choose();

    NextHops& hops_;
    std::array<lib::Counter, lib::max_next_hops>& shown_;
    std::vector<lib::IpAddress> addresses_;
    std::vector<NextHop> known_;  ///< by place
    std::vector<bool> seen_;      ///< since begin()
    std::vector<Way> ways_;
};

}  // namespace flowtap::dataplane::slow_path
