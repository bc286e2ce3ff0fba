#include "dataplane/slow_path/next_hop_keeper.h"

#include "lib/next_hops.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace flowtap::dataplane::slow_path {

NextHopKeeper::NextHopKeeper(const lib::Config& config, NextHops& hops,
                             std::array<lib::Counter, lib::max_next_hops>& shown)
    : hops_(hops),
      shown_(shown),
      addresses_(lib::next_hop_addresses(config)),
      known_(addresses_.size()),
      seen_(addresses_.size()) {
    const auto gateways = [&](lib::Family family) {
        std::vector<std::size_t> places;
        for (std::size_t i = 0; i < config.delivery.gateways.size(); ++i) {
            if (addresses_[i].family == family) {
                places.push_back(i);
            }
        }
        return places;
    };
    for (const lib::Family family : {lib::Family::ipv4, lib::Family::ipv6}) {
        ways_.push_back({.family = family, .places = gateways(family)});
    }
    for (std::size_t i = 0; i < config.tunnels.size(); ++i) {
        const lib::IpAddress& remote = config.tunnels[i].remote;
        const auto itself = std::ranges::find(addresses_, remote);
        ways_.push_back({.family = {},
                         .tunnel = i,
                         .places = itself != addresses_.end()
                                       ? std::vector{static_cast<std::size_t>(itself - addresses_.begin())}
                                       : gateways(remote.family)});
    }
}

void NextHopKeeper::begin() {
    seen_.assign(seen_.size(), false);
}

void NextHopKeeper::learn(const Neighbour& neighbour) {
    const auto found = std::ranges::find(addresses_, neighbour.address);
    if (found == addresses_.end()) {
        return;
    }
    const auto place = static_cast<std::size_t>(found - addresses_.begin());
    seen_[place] = true;
    set(place, neighbour.mac ? NextHop{*neighbour.mac} : NextHop{});
}

void NextHopKeeper::end() {
    for (std::size_t place = 0; place < seen_.size(); ++place) {
        if (!seen_[place]) {
            set(place, NextHop{});
        }
    }
}

void NextHopKeeper::set(std::size_t place, NextHop hop) {
    if (known_[place] == hop) {
        return;
    }
    known_[place] = hop;
    shown_[place].store(hop.word(), std::memory_order_relaxed);
    choose();
    if (hop.known()) {
        spdlog::info("next hop {} is at {}", lib::to_string(addresses_[place]), lib::to_string(hop.mac()));
    } else {
        spdlog::warn("next hop {} does not answer any more", lib::to_string(addresses_[place]));
    }
}

void NextHopKeeper::choose() {
    for (const Way& way : ways_) {
        const auto place =
            std::ranges::find_if(way.places, [this](std::size_t i) { return known_[i].known(); });
        if (place == way.places.end()) {
            continue;
        }
        const NextHop hop = known_[*place];
        if (way.family) {
            hops_.set(*way.family, hop);
        } else {
            hops_.set_tunnel(way.tunnel, hop);
        }
    }
}

}  // namespace flowtap::dataplane::slow_path
