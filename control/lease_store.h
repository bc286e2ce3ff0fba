// Which counter values of each ESP key may still be used: the record that makes an IV unique for ever.
//
// A GCM IV is a counter (RFC 4106 section 3.1) and must never come twice under one key, whatever crashes. The
// dataplane counts only within leases, and grant() has the end of a lease on the medium before it returns the
// lease: after any crash the next one starts beyond all that were ever granted. What cannot be proved unused
// is refused:
// - a key without a record (the operator records a new key by `flowtap-control --new-keys`, once);
// - a record that was rolled back. Two files tell: `leases.generation` is written before each change of
//   `leases`. One generation apart means a crash between the two writes, or a rollback by one change: every
//   key then skips a block of the largest size, which is safe in both cases. Further apart: refused. (Both
//   files rolled back together shows only against a witness: see check_witness().)
// A key is known by a one-way digest of itself; the files hold no key.
//
// Not thread-safe: one thread at a time. Does file I/O and waits for the medium.
#pragma once

#include "lib/records.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>

namespace flowtap::control {

/// Digest of the cipher key alone, without SPI and salt: a key keeps its counter whatever else changes.
using KeyDigest = std::array<std::uint8_t, 32>;

KeyDigest key_digest(std::span<const std::uint8_t> cipher_key);

/// The counter values that a key may ever use, and how many of them a lease holds.
struct SequenceSpace {
    std::uint64_t block = 0;
    std::uint64_t end = 0;  ///< no value from here on
};

/// Without extended sequence numbers the SA ends after 2^32-1 (RFC 4303 section 3.3.3). A lease is 16.7
/// million packets, so a restart costs at most 1/256 of the space.
inline constexpr SequenceSpace short_space{std::uint64_t{1} << 24, std::uint64_t{1} << 32};

/// With them. A lease lasts 27 s at 10 million packets a second. It is much shorter than 2^32 on purpose: the
/// receiver infers the high half of a sequence number from the low one (RFC 4303 appendix A2), which a jump
/// of less than 2^32 in all does not confuse.
inline constexpr SequenceSpace extended_space{std::uint64_t{1} << 28, UINT64_MAX};

class LeaseStore {
  public:
    /// Reads the record in `directory`. A directory without one is an empty record, in which no key is known.
    static std::expected<LeaseStore, std::string> open(std::filesystem::path directory);

    bool knows(const KeyDigest& key) const { return next_.contains(key); }

    /// Records keys that have never sealed anything; keys that are known already are left as they are.
    /// Returns how many were new.
    std::expected<std::size_t, std::string> record_new(std::span<const KeyDigest> keys);

    /// The next block, on the medium before it is returned. Errors: no record, end of the sequence space, or
    /// the medium failed (nothing is granted then).
    std::expected<lib::Lease, std::string> grant(const KeyDigest& key, const SequenceSpace& space);

    /// The first value that was never granted; 0 for a key without a record.
    std::uint64_t next(const KeyDigest& key) const;

    /// A witness (the registry) knows that values below `end` were granted. False: the record says less or
    /// nothing. It was rolled back then, and the key is refused from now on and for ever.
    bool check_witness(const KeyDigest& key, std::uint64_t end);

  private:
    explicit LeaseStore(std::filesystem::path directory) : directory_{std::move(directory)} {}

    std::expected<void, std::string> load(std::string_view content);
    std::expected<void, std::string> save();

    std::filesystem::path directory_;
    std::uint64_t generation_ = 0;
    std::map<KeyDigest, std::uint64_t> next_;
    std::set<KeyDigest> rolled_back_;
    bool broken_ = false;  ///< a write failed half-way: the files may be of two generations
};

}  // namespace flowtap::control
