// Opening ESP packets (RFC 4303 section 3.4).
#pragma once

#include "crypto/engine.h"
#include "crypto/esp.h"
#include "crypto/inbound_sa.h"
#include "lib/secret.h"

#include <cstdint>
#include <expected>
#include <span>
#include <string>

namespace flowtap::crypto {

struct Opened {
    OpenVerdict verdict = OpenVerdict::truncated;
    NextHeader next_header = NextHeader::none;
    std::uint64_t sequence = 0;     ///< the whole one of an SA with extended ones; trustworthy from the ICV
                                    ///< check on
    std::uint64_t iv = 0;           ///< of the suites whose IV is 8 bytes of counter or so; else 0
    std::span<std::uint8_t> inner;  ///< the inner IP packet, by its own length, inside of the buffer given
};

/// Opens; one to a thread. No allocation, exception, lock or system call after creation.
class Opener {
  public:
    static std::expected<Opener, std::string> create(Engine engine);

    /// `esp`: from the SPI to the ICV, decrypted in place. Unless the verdict is `opened`, `inner` is empty
    /// and the buffer's content is not to be used; what failed the ICV check is wiped. The replay window
    /// moves only for packets that passed the ICV check.
    Opened open(InboundSa& sa, std::span<std::uint8_t> esp);

    const Engine& engine() const { return engine_; }

  private:
    Opener(Engine engine, lib::SecretBytes context)
        : engine_(std::move(engine)), context_(std::move(context)) {}

    Engine engine_;
    lib::SecretBytes context_;
};

}  // namespace flowtap::crypto
