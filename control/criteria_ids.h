// Criteria-IDs: unique for ever, and telling nothing about how many were given out, or to whom.
//
// The n-th ID of this box is a secret permutation of n: a cycle-walking Feistel network over 1..2^31-1 whose
// round function is AES-128. Numbers are never reused because n never is: it is reserved on the medium in
// blocks before it is used, so that a crash, a restart or a reboot skips at most a block. 31 bits, because
// real clients read a Criteria-ID as a signed int.
//
// Not thread-safe: one owner. take() does file I/O once in 16,384 calls.
#pragma once

#include "lib/records.h"

#include <array>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <string>

extern "C" struct evp_cipher_ctx_st;

namespace flowtap::control {

inline constexpr std::uint64_t criteria_id_count = (std::uint64_t{1} << 31) - 1;  ///< IDs are 1..this

/// The permutation of 1..criteria_id_count under one key.
class IdPermutation {
  public:
    using Key = std::array<std::uint8_t, 16>;

    static std::expected<IdPermutation, std::string> create(const Key& key);

    /// `place` and the result are 1..criteria_id_count.
    std::uint64_t operator()(std::uint64_t place);

  private:
    struct Free {
        void operator()(evp_cipher_ctx_st* context) const;
    };
    using Context = std::unique_ptr<evp_cipher_ctx_st, Free>;

    explicit IdPermutation(Context context) : context_{std::move(context)} {}
    std::uint32_t round(std::uint32_t half, std::uint8_t number);

    Context context_;
};

class CriteriaIds {
  public:
    static constexpr std::uint64_t block = 16'384;

    /// Reads `directory`/criteria-ids, or makes it with a fresh key.
    static std::expected<CriteriaIds, std::string> open(const std::filesystem::path& directory);

    /// A number never taken before. Errors: the medium failed, or 2^31 numbers are used up.
    std::expected<lib::TapId, std::string> take();

  private:
    CriteriaIds(std::filesystem::path file, const IdPermutation::Key& key, IdPermutation permutation,
                std::uint64_t next)
        : file_{std::move(file)},
          key_{key},
          permutation_{std::move(permutation)},
          next_{next},
          reserved_{next} {}

    std::expected<void, std::string> reserve();

    std::filesystem::path file_;
    IdPermutation::Key key_;
    IdPermutation permutation_;
    std::uint64_t next_;      ///< place of the next ID, from 1
    std::uint64_t reserved_;  ///< places below are on the medium as used
};

}  // namespace flowtap::control
