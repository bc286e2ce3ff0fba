// From frames to original packets: opens, strips, counts. No input or output of its own.
#pragma once

#include "crypto/esp.h"
#include "crypto/inbound_sa.h"
#include "crypto/opener.h"
#include "tools/receive/encapsulation.h"
#include "tools/receive/gap_tracker.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace flowtap::tools::receive {

/// Where copies were addressed to.
using Destination = std::pair<lib::IpAddress, std::uint16_t>;

struct Tally {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;  ///< of original packets
};

struct Statistics {
    std::uint64_t other_frames = 0;  ///< frames without ESP
    std::uint64_t esp_packets = 0;   ///< the rest; each is either a copy, a dummy, or refused
    Tally copies;
    std::uint64_t dummies = 0;  ///< RFC 4303 section 2.6: meant to be dropped
    /// By verdict of opening; the verdicts `opened` and `dummy` stay 0 here.
    std::array<std::uint64_t, static_cast<std::size_t>(crypto::OpenVerdict::count_)> refused_by_esp{};
    std::array<std::uint64_t, static_cast<std::size_t>(Cause::count_)> refused_otherwise{};
    std::map<Destination, Tally> destinations;
    GapTracker sequence;

    std::uint64_t refused() const;
    /// Nothing was refused, nothing is missing, nothing came twice.
    bool clean() const;
};

class Receiver {
  public:
    Receiver(crypto::Opener opener, std::unique_ptr<crypto::InboundSa> sa)
        : opener_(std::move(opener)), sa_(std::move(sa)) {}

    /// The original packet in the frame, whose bytes are decrypted in place; nullopt if there is none, and
    /// counted why.
    std::optional<std::span<const std::uint8_t>> receive(std::span<std::uint8_t> frame, LinkType type);

    const Statistics& statistics() const { return statistics_; }

  private:
    void refuse(Cause cause) { ++statistics_.refused_otherwise[static_cast<std::size_t>(cause)]; }

    crypto::Opener opener_;
    std::unique_ptr<crypto::InboundSa> sa_;
    Statistics statistics_;
};

}  // namespace flowtap::tools::receive
