// From frames to original packets: opens, strips, counts. No input or output of its own.
#pragma once

#include "crypto/esp.h"
#include "crypto/inbound_sa.h"
#include "crypto/opener.h"
#include "tools/receive/copy_ledger.h"
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

/// A tap, as its copies' shims name it; copies without a shim are nobody's.
struct TapKey {
    Destination destination;
    lib::Shim shim = lib::Shim::raw;
    std::uint32_t id = 0;
    std::uint32_t session = 0;

    auto operator<=>(const TapKey&) const = default;
};

struct Tally {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;  ///< of original packets
};

struct TapTally {
    Tally copies;
    std::uint64_t to_target = 0;    ///< of shims that say a direction
    std::uint64_t from_target = 0;  ///< likewise
    std::uint64_t truncated = 0;    ///< of ours, from here on
    std::uint64_t fragments = 0;
    CopyLedger ledger;
};

struct Statistics {
    std::uint64_t other_frames = 0;  ///< frames without ESP
    std::uint64_t esp_packets = 0;   ///< the rest; each is either a copy, a dummy, or refused
    Tally copies;
    std::uint64_t dummies = 0;  ///< RFC 4303 section 2.6: meant to be dropped
    /// By verdict of opening; the verdicts `opened` and `dummy` stay 0 here.
    std::array<std::uint64_t, static_cast<std::size_t>(crypto::OpenVerdict::count_)> refused_by_esp{};
    std::array<std::uint64_t, static_cast<std::size_t>(Cause::count_)> refused_otherwise{};
    std::uint64_t whole_frames = 0;  ///< of the copies: counted, and not given out
    std::map<Destination, Tally> destinations;
    std::map<TapKey, TapTally> taps;
    GapTracker sequence;

    std::uint64_t refused() const;
    /// Nothing was refused, no ESP packet and no copy is missing or came twice.
    bool clean() const;
};

class Receiver {
  public:
    Receiver(crypto::Opener opener, std::unique_ptr<crypto::InboundSa> sa, ShimRules shims = {})
        : opener_(std::move(opener)), sa_(std::move(sa)), shims_(std::move(shims)) {}

    /// The original packet in the frame, whose bytes are decrypted in place; nullopt if there is none, and
    /// counted why; or if it is a whole frame.
    std::optional<std::span<const std::uint8_t>> receive(std::span<std::uint8_t> frame, LinkType type);

    const Statistics& statistics() const { return statistics_; }

  private:
    void count(const Copy& copy);
    void refuse(Cause cause) { ++statistics_.refused_otherwise[static_cast<std::size_t>(cause)]; }

    crypto::Opener opener_;
    std::unique_ptr<crypto::InboundSa> sa_;
    ShimRules shims_;
    Statistics statistics_;
};

}  // namespace flowtap::tools::receive
