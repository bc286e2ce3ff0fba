// What the frames of a comparison have met: a test that says nothing was wrong has to say how often it could
// have been.
#pragma once

#include "dataplane/match/key_space.h"
#include "test/support/reference_match.h"
#include "test/unit/dataplane/match/table_fixture.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>

namespace flowtap::test {

class Coverage {
  public:
    /// Taps on one host from which on it counts as crowded: enough for its key to be divided in many parts.
    static constexpr std::ptrdiff_t crowd = 16;

    void add_tap(const lib::Criterion& criterion) { count(criterion, 1); }
    void remove_tap(const lib::Criterion& criterion) { count(criterion, -1); }

    void frame(const PacketFacts& facts) {
        const auto taps_on = [&](const lib::IpAddress& address) {
            const auto found = hosts_.find(address);
            return found == hosts_.end() ? std::ptrdiff_t{0} : found->second;
        };
        const bool crowded = std::max(taps_on(facts.source), taps_on(facts.dest)) >= crowd;
        crowded_ += std::size_t{crowded};
    }

    /// A tap that the frame matches. Its level is known where it names one range on one side.
    void match(const lib::Criterion& criterion) {
        const lib::AddressList& list =
            criterion.source_address.empty() ? criterion.dest_address : criterion.source_address;
        if (criterion.either_address || list.size() != 1 || list.front().negated ||
            (!criterion.source_address.empty() && !criterion.dest_address.empty())) {
            return;
        }
        const bool v4 = criterion.family == lib::Family::ipv4;
        const auto note = [&](const auto& levels, auto& counts) {
            for (std::size_t level = 0; level < levels.size(); ++level) {
                if (blocks(list.front(), levels[level]) <= 2) {
                    ++counts[level];
                    return;
                }
            }
        };
        v4 ? note(dataplane::match::ipv4_levels, ipv4_) : note(dataplane::match::ipv6_levels, ipv6_);
    }

    std::size_t crowded() const { return crowded_; }
    /// Matches at the level that had the fewest.
    std::size_t rarest_level() const {
        return std::min(*std::ranges::min_element(ipv4_), *std::ranges::min_element(ipv6_));
    }

  private:
    /// How many blocks of a prefix length the range lies in; 3: more than two.
    static unsigned blocks(const lib::AddressTerm& term, unsigned length) {
        const auto prefix = [&](const lib::IpAddress& address) {
            dataplane::match::Uint128 value = 0;
            for (std::size_t i = 0; i < lib::address_size(address.family); ++i) {
                value = value << 8 | address.bytes[i];
            }
            return value >> (8 * lib::address_size(address.family) - length);
        };
        const auto apart = prefix(term.last) - prefix(term.first);
        return apart < 2 ? static_cast<unsigned>(apart) + 1 : 3;
    }

    void count(const lib::Criterion& criterion, std::ptrdiff_t change) {
        for (const lib::AddressList* const list : {&criterion.source_address, &criterion.dest_address}) {
            for (const lib::AddressTerm& term : *list) {
                if (!term.negated && term.first == term.last) {
                    hosts_[term.first] += change;
                }
            }
        }
        if (criterion.either_address) {
            hosts_[*criterion.either_address] += change;
        }
    }

    std::map<lib::IpAddress, std::ptrdiff_t> hosts_;  ///< taps that name it
    std::size_t crowded_ = 0;
    std::array<std::size_t, dataplane::match::ipv4_levels.size()> ipv4_{};
    std::array<std::size_t, dataplane::match::ipv6_levels.size()> ipv6_{};
};

}  // namespace flowtap::test
