// Random criteria and random frames that meet often: both draw addresses, ports and protocols from small
// pools, so that near misses and hits are as frequent as plain misses.
#pragma once

#include "lib/criterion.h"
#include "test/support/packets.h"
#include "test/support/reference_match.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace flowtap::test {

/// The header of the protocol, whichever of the two it has; behind one without ports or ICMP fields, 8 bytes.
void add_upper(Packet& packet, std::uint8_t protocol, const PortFields& port_fields,
               const IcmpFields& icmp_fields);

class RandomTraffic {
  public:
    /// `networks`: how many prefixes the addresses come from; more networks, fewer hits.
    RandomTraffic(std::uint64_t seed, std::size_t networks);

    struct Sample {
        Bytes frame;
        PacketFacts facts;      ///< from what was built, not from the bytes; offsets and lengths are left out
        bool is_packet = true;  ///< else there are no facts
    };
    Sample frame();
    /// Not IP, or damaged, or a runt.
    Sample strange_frame();
    struct Datagram {
        std::vector<Bytes> fragments;  ///< two to five, in order
        PacketFacts facts;             ///< of the whole, without offsets and lengths
    };
    /// Of IPv6, sometimes its protocol stands in the first fragment only.
    Datagram datagram(std::uint16_t id);
    /// `wild`: criteria without any address list may come too.
    lib::Criterion criterion(bool wild);
    /// 1 to 6 of ports 0 to 3.
    lib::InterfaceList interfaces();

    std::uint64_t below(std::uint64_t bound);
    bool chance(unsigned percent) { return below(100) < percent; }

  private:
    lib::IpAddress address(lib::Family family);
    lib::Family pair_of_addresses(PacketFacts& facts);
    void add_carrier(Packet& packet);
    lib::AddressTerm address_term(lib::Family family);
    lib::NumberTerm number_term(const std::vector<std::uint16_t>& pool, std::uint16_t max);
    lib::NumberList number_list(const std::vector<std::uint16_t>& pool, std::uint16_t max);

    std::mt19937_64 random_;
    std::vector<lib::IpAddress> networks_;
};

}  // namespace flowtap::test
