// What of each ESP key has been used up: the record that makes an IV unique for ever, and that keeps a key
// whose lifetime is over from coming back.
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

#include "control/lease_file.h"
#include "lib/records.h"
#include "lib/sa_lifetime.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <set>
#include <span>
#include <string>

namespace flowtap::control {

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

/// What has been used of a key, for certain or as far as it may have been.
struct KeyUse {
    lib::LifeSpan span;
    bool begun = false;  ///< a lease was granted: its time runs
    bool spent = false;  ///< it must not be used again, whatever its lifetimes say
};

/// What is to be put on record beside leases. Nothing of it is taken back later: bytes and seconds only grow.
struct UseRecord {
    KeyDigest key{};
    std::uint64_t seconds = 0;
    std::uint64_t bytes = 0;
    bool spent = false;
};

class LeaseStore {
  public:
    /// Reads the record in `directory`. A directory without one is an empty record, in which no key is known.
    static std::expected<LeaseStore, std::string> open(std::filesystem::path directory);

    bool knows(const KeyDigest& key) const { return file_.keys.contains(key); }

    /// Records keys that have never sealed anything; keys that are known already are left as they are.
    /// Returns how many were new.
    std::expected<std::size_t, std::string> record_new(std::span<const KeyDigest> keys);

    /// The next block, on the medium before it is returned; with the first one the key's time begins at `utc`
    /// (seconds since 1970). Errors: no record, the key is spent, end of the sequence space, or the medium
    /// failed (nothing is granted then).
    std::expected<lib::Lease, std::string> grant(const KeyDigest& key, const SequenceSpace& space,
                                                 std::int64_t utc);

    /// What the record says at `utc`; nothing of a key without a record.
    KeyUse use(const KeyDigest& key, std::int64_t utc) const;

    /// On the medium when it returns. Keys without a record are passed over.
    std::expected<void, std::string> record(std::span<const UseRecord> uses);

    /// The first value that was never granted; 0 for a key without a record.
    std::uint64_t next(const KeyDigest& key) const;

    /// A witness (the registry) knows that values below `end` were granted. False: the record says less or
    /// nothing. It was rolled back then, and the key is refused from now on and for ever.
    bool check_witness(const KeyDigest& key, std::uint64_t end);

  private:
    explicit LeaseStore(std::filesystem::path directory) : directory_{std::move(directory)} {}

    std::expected<void, std::string> save();

    std::filesystem::path directory_;
    LeaseFile file_;
    std::set<KeyDigest> rolled_back_;
    bool broken_ = false;  ///< a write failed half-way: the files may be of two generations
};

}  // namespace flowtap::control
