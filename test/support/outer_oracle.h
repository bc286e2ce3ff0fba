// The headers in front of an ESP packet in tunnel mode, byte for byte as the RFCs have them: an oracle that
// shares no code with crypto/. 791, 8200, 6040 (ECN), 3948 (ESP in UDP), 1071 (checksums).
#pragma once

#include "lib/address.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace flowtap::test {

struct OuterOracle {
    lib::IpAddress local;
    lib::IpAddress remote;
    std::uint8_t ttl = 64;
    std::optional<std::uint8_t> dscp;  ///< unset: the inner packet's
    bool udp = false;

    std::size_t size() const;

    /// In front of `esp`, from the SPI to the ICV. `inner_ds`: DSCP and ECN of the packet inside.
    std::vector<std::uint8_t> headers(std::uint8_t inner_ds, std::uint16_t identification,
                                      std::span<const std::uint8_t> esp) const;
};

}  // namespace flowtap::test
