// Sealing a burst of packets for one SA (RFC 4303 section 3.3), in place or on the way into place.
//
// The buffer of a packet, which is the caller's and may hold anything but the inner packet's bytes before:
//
//   |<- sa.headroom() ->|<------- length ------->|<- sa.tailroom(length) ->|
//   | outer, ESP, IV    | inner IP packet        | padding, trailer, ICV   |
//                       ^ inner                  |
//                       |<-------------------- room ---------------------->...
//
// A copy of tapped traffic is an encapsulation header written at `inner`, and the original packet elsewhere:
// then `body` points to the original. AES-GCM is encrypted from there where the processor allows it
// (gather_gcm.h); otherwise a packet is put together just before its cipher reads it, which was measured
// faster than copying the burst first, and faster than IPsec-MB's scatter-gather calls (test/bench).
#pragma once

#include "crypto/engine.h"
#include "crypto/esp.h"
#include "crypto/outbound_sa.h"
#include "lib/secret.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>

namespace flowtap::crypto {

/// One packet: the caller fills the first part, sealing the second.
struct SealJob {
    std::uint8_t* inner =
        nullptr;               ///< where the inner packet starts; headroom() bytes before it are writable
    std::uint32_t length = 0;  ///< bytes of the inner packet, body included
    std::uint32_t room = 0;    ///< writable bytes from `inner` on: at least length + tailroom(length)
    const std::uint8_t* body = nullptr;  ///< the inner packet's last body_length bytes, outside of the
                                         ///< buffer; only read. Null: the whole packet is at `inner`
    std::uint32_t body_length = 0;       ///< at most `length` less the inner IP header's fixed part

    std::uint8_t* sealed = nullptr;   ///< where the outer packet starts: inner - headroom()
    std::uint32_t sealed_length = 0;  ///< its bytes
    SealVerdict verdict = SealVerdict::no_counter;
};

/// Seals; one to a thread. No allocation, exception, lock or system call after creation.
class Sealer {
  public:
    static std::expected<Sealer, std::string> create(Engine engine);

    /// Seals jobs[i] with the block's i-th counter value: it becomes the IV, its low 32 bits the sequence
    /// number. Jobs beyond the block get no_counter; a refused job leaves its value unused. All jobs are done
    /// on return; the number of sealed ones is returned.
    std::size_t seal_burst(CounterBlock block, std::span<SealJob> jobs);

    const Engine& engine() const { return engine_; }

  private:
    Sealer(Engine engine, lib::SecretBytes context)
        : engine_(std::move(engine)), context_(std::move(context)) {}

    Engine engine_;
    lib::SecretBytes context_;  ///< the cipher's working state, which holds key stream
};

}  // namespace flowtap::crypto
