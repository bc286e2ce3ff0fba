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
        64;                          ///< sequence numbers (ReplayWindow::valid); unset: no anti-replay, as
                                     ///< RFC 4303 section 3.4.3 has it for manual keys
    bool extended_sequence = false;  ///< 64-bit sequence numbers (RFC 4303 section 2.2.1)
    std::uint64_t highest = 0;       ///< extended: the highest number that was received before
};

class InboundSa {
  public:
    static std::expected<std::unique_ptr<InboundSa>, SaError> create(const Engine& engine,
                                                                     const InboundParameters& parameters);

    lib::Spi spi() const { return spi_; }
    const KeySchedule& key() const { return key_; }
    bool extended_sequence() const { return extended_; }

    /// The whole sequence number of a packet that shows `low`: itself, or with the high half that the numbers
    /// received so far suggest (RFC 4303 appendix A2). Null: it would lie before the first number of all.
    std::optional<std::uint64_t> whole_sequence(std::uint32_t low) const {
        return extended_ ? inferred_sequence(low) : std::optional<std::uint64_t>(low);
    }
    /// `fresh` without anti-replay.
    ReplayWindow::Answer check(std::uint64_t sequence) const {
        return window_ ? window_->check(sequence) : ReplayWindow::Answer::fresh;
    }
    /// Of a packet that passed its ICV check, and check() before.
    void seen(std::uint64_t sequence);
    /// Forgets what was seen: as after creation with `highest`.
    void restart(std::uint64_t highest = 0);

  private:
    InboundSa(const InboundParameters& parameters, KeySchedule key);
    std::optional<std::uint64_t> inferred_sequence(std::uint32_t low) const;

    KeySchedule key_;
    lib::Spi spi_;
    std::optional<ReplayWindow> window_;
    std::optional<std::size_t> window_size_;
    bool extended_;
    std::uint64_t highest_ = 0;
};

}  // namespace flowtap::crypto
