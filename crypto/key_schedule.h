// The expanded keys of one SA, in memory that is locked, kept out of core files and wiped.
#pragma once

#include "crypto/engine.h"
#include "lib/secret.h"
#include "lib/suite.h"

#include <cstdint>
#include <expected>
#include <span>
#include <string>

namespace flowtap::crypto {

struct KeyTables;  // key_tables.h, which only the .cc files include: it needs IPsec-MB's header

/// Thread safety: read-only after creation, shared by all threads.
class KeySchedule {
  public:
    /// `key`: the suite's cipher key, then its salt (RFC 4106 section 8.1) or authentication key; it stays
    /// the caller's to wipe. The error says what is wrong with its size or that memory cannot be locked,
    /// never what the key is.
    static std::expected<KeySchedule, std::string> create(const Engine& engine, lib::Suite suite,
                                                          std::span<const std::uint8_t> key);

    Implementation implementation() const { return implementation_; }
    const lib::SuiteInfo& suite() const { return *suite_; }
    const KeyTables& tables() const;

  private:
    KeySchedule(lib::SecretBytes memory, Implementation implementation, const lib::SuiteInfo& suite)
        : memory_(std::move(memory)), implementation_(implementation), suite_(&suite) {}

    lib::SecretBytes memory_;
    Implementation implementation_;
    const lib::SuiteInfo* suite_;
};

}  // namespace flowtap::crypto
