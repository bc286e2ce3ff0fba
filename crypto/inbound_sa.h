// A security association that opens. One thread at a time: opening moves its replay window.
#pragma once

#include "crypto/key_schedule.h"
#include "crypto/replay_window.h"
#include "crypto/sa_error.h"
#include "lib/suite.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>

namespace flowtap::crypto {

struct InboundParameters {
    lib::Spi spi{};
    lib::Suite suite = lib::Suite::aes_256_gcm_16;
    std::span<const std::uint8_t> key{};  ///< with its salt; copied, the original is the caller's to wipe
    std::optional<std::size_t> window =
        64;  ///< sequence numbers (ReplayWindow::valid); unset: no anti-replay, as
             ///< RFC 4303 section 3.4.3 has it for manual keys
};

class InboundSa {
  public:
    static std::expected<std::unique_ptr<InboundSa>, SaError> create(const Engine& engine,
                                                                     const InboundParameters& parameters);

    lib::Spi spi() const { return spi_; }
    const KeySchedule& key() const { return key_; }
    std::optional<ReplayWindow>& window() { return window_; }
    const std::optional<ReplayWindow>& window() const { return window_; }

  private:
    InboundSa(const InboundParameters& parameters, KeySchedule key);

    KeySchedule key_;
    lib::Spi spi_;
    std::optional<ReplayWindow> window_;
};

}  // namespace flowtap::crypto
