// Frames made for one criterion, and criteria made for one frame: so that nearly every comparison is decided
// at the edge of a term, and by one field.
#pragma once

#include "lib/criterion.h"
#include "test/support/packets.h"
#include "test/support/random_traffic.h"
#include "test/support/reference_match.h"

#include <cstdint>
#include <random>
#include <vector>

namespace flowtap::test {

class AimedTraffic {
  public:
    explicit AimedTraffic(std::uint64_t seed) : random_(seed) {}

    /// A frame that comes in at `port`: half of them have values at the edges of the criterion's terms only,
    /// the others one field that lies just beyond an edge.
    RandomTraffic::Sample frame(const lib::Criterion& criterion, std::uint16_t port);

    /// Names some of the packet's fields, by terms that hold its values or end just before them.
    lib::Criterion criterion(const PacketFacts& facts, const lib::InterfaceTerm& arrival);

  private:
    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    bool chance(unsigned percent) { return below(100) < percent; }

    lib::IpAddress any_address(lib::Family family);
    lib::IpAddress address(const lib::AddressList& list, lib::Family family, bool beyond);
    std::uint16_t number(const lib::NumberList& list, std::uint16_t max, bool beyond);
    std::uint8_t protocol(const lib::Criterion& criterion, bool beyond);
    std::uint16_t vlan(const lib::InterfaceList& list, std::uint16_t port, bool beyond);

    lib::AddressList around(const lib::IpAddress& address);
    lib::NumberList around(std::uint16_t number, std::uint16_t max);

    std::mt19937_64 random_;
};

/// How many of the criterion's elements would have to go for it to match: 0, 1, or more (2).
unsigned elements_off(const lib::Criterion& criterion, const std::optional<PacketFacts>& facts,
                      const lib::InterfaceTerm& arrival);

}  // namespace flowtap::test
