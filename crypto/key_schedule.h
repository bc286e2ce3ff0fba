// An expanded AES-GCM key and its salt, in memory that is locked, kept out of core files and wiped.
#pragma once

#include "crypto/engine.h"
#include "lib/secret.h"
#include "lib/suite.h"

#include <cstdint>
#include <expected>
#include <span>
#include <string>

struct gcm_key_data;  // intel-ipsec-mb.h

namespace flowtap::crypto {

/// Thread safety: read-only after creation, shared by all threads.
class KeySchedule {
  public:
    /// `key`: the suite's cipher key, then its salt (RFC 4106 section 8.1); it stays the caller's to wipe.
    /// The error says what is wrong with its size or that memory cannot be locked, never what the key is.
    static std::expected<KeySchedule, std::string> create(const Engine& engine, lib::Suite suite,
                                                          std::span<const std::uint8_t> key);

    Implementation implementation() const { return implementation_; }
    const gcm_key_data* gcm() const;
    /// The first 4 bytes of every nonce (RFC 4106 section 4).
    std::span<const std::uint8_t, 4> salt() const;

  private:
    KeySchedule(lib::SecretBytes memory, Implementation implementation)
        : memory_(std::move(memory)), implementation_(implementation) {}

    lib::SecretBytes memory_;
    Implementation implementation_;
};

}  // namespace flowtap::crypto
