// What the exactness tests of ESP share: SAs of which everything is drawn, inner packets of every size, and
// how many of them.
#pragma once

#include "test/support/outer_oracle.h"
#include "test/unit/crypto/esp_fixture.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace flowtap::test {

/// Good packets of the suite, each way: FLOWTAP_ESP_PACKETS=N, a million with FLOWTAP_LONG.
std::size_t wanted_packets(const lib::SuiteInfo& suite);

struct DrawnSa {
    const lib::SuiteInfo* suite = nullptr;
    crypto::Implementation implementation = crypto::Implementation::automatic;
    Bytes material;
    std::uint32_t spi = 0;
    bool extended = false;
    std::uint16_t padded_length = 0;
    std::uint64_t first = 1;  ///< of its counter values
    std::uint32_t packets = 0;
    OuterOracle outer;

    EspOracle oracle() const { return {suite->suite, material, extended}; }
    crypto::OutboundParameters outbound() const;
    crypto::InboundParameters inbound(std::size_t window) const;
    std::string description() const;
};

/// The `number`-th of a suite, good for `packets` counter values: sixteen in a row have every combination of
/// outer family, extended sequence numbers (3DES has none), UDP and TFC padding, and take turns with what the
/// CPU has implementations of (3DES only the best: the others do 0.5 MB/s). Many start just before 2^32 or a
/// multiple of it, or end at the last number.
DrawnSa draw_sa(std::mt19937_64& random, const lib::SuiteInfo& suite, std::size_t number,
                std::uint32_t packets);

/// How many SAs share `wanted` packets, and how many packets each gets.
struct Split {
    std::size_t associations;
    std::uint32_t packets;
};
Split split(std::size_t wanted);

/// Inner packets of random content: IPv4 and IPv6 with a payload of 0 to 9,000 bytes, every one of these
/// before any comes again; the small ones come first.
class Deck {
  public:
    explicit Deck(std::mt19937_64& random);
    Bytes next();

  private:
    struct Card {
        lib::Family family;
        std::size_t payload;
    };

    std::mt19937_64& random_;
    Bytes content_;
    std::vector<Card> cards_;
    std::size_t next_ = 0;
};

std::uint8_t next_header_of(const Bytes& inner);
std::uint8_t ds_of(const Bytes& inner);

}  // namespace flowtap::test
