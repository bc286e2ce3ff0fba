// A security association that seals: what all workers share of it.
//
// Thread safety: take() and sealing from any number of threads; extend_lease() from one (the manager).
// Everything but the counter is constant. Whoever destroys it sees to it that no thread uses it or a block of
// it any more (RCU).
#pragma once

#include "crypto/esp.h"
#include "crypto/key_schedule.h"
#include "crypto/outer_header.h"
#include "crypto/sa_error.h"
#include "crypto/sequence_counter.h"
#include "lib/address.h"
#include "lib/records.h"
#include "lib/suite.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace flowtap::crypto {

class OutboundSa;

/// Counter values of one SA, for one thread and one use: whoever seals with it uses it up. Values that no
/// packet used are gone; the receiver sees a gap in the sequence numbers.
class CounterBlock {
  public:
    CounterBlock(CounterBlock&& other) noexcept
        : sa_(other.sa_), range_(std::exchange(other.range_, SequenceCounter::Range{})) {}
    CounterBlock& operator=(CounterBlock&&) = delete;
    CounterBlock(const CounterBlock&) = delete;
    CounterBlock& operator=(const CounterBlock&) = delete;
    ~CounterBlock() = default;

    const OutboundSa& sa() const { return *sa_; }
    std::uint64_t first() const { return range_.first; }
    std::uint32_t count() const { return range_.count; }
    /// Why count() is less than what was asked for.
    Shortage shortage() const { return range_.shortage; }

  private:
    friend class OutboundSa;
    CounterBlock(const OutboundSa& sa, const SequenceCounter::Range& range) : sa_(&sa), range_(range) {}

    const OutboundSa* sa_;
    SequenceCounter::Range range_;
};

/// What an outbound SA is made of.
struct OutboundParameters {
    lib::Spi spi{};
    lib::Suite suite = lib::Suite::aes_256_gcm_16;
    std::span<const std::uint8_t> key{};  ///< with its salt; copied, the original is the caller's to wipe
    lib::IpAddress local{};               ///< outer source
    lib::IpAddress remote{};              ///< outer destination, of the same family
    lib::Lease lease{};                   ///< counter values that may be used (SequenceCounter::valid)
    std::uint8_t ttl = 64;                ///< outer TTL or hop limit
    std::optional<std::uint8_t> dscp{};   ///< outer DSCP, 0..63; unset: the inner packet's
};

class OutboundSa {
  public:
    /// The engine expands the key; any engine of the same implementation may seal with it.
    static std::expected<std::unique_ptr<OutboundSa>, SaError> create(const Engine& engine,
                                                                      const OutboundParameters& parameters);

    OutboundSa(const OutboundSa&) = delete;
    OutboundSa& operator=(const OutboundSa&) = delete;
    ~OutboundSa() = default;

    /// Up to `wanted` counter values; CounterBlock::shortage() says why there are fewer.
    CounterBlock take(std::uint32_t wanted) { return {*this, counter_.take(wanted)}; }

    /// Grows the lease: `lease` starts where the present one ends; false, and nothing changed, if it does
    /// not.
    bool extend_lease(const lib::Lease& lease) { return counter_.extend(lease); }

    std::uint64_t next_counter() const { return counter_.next(); }
    std::uint64_t lease_end() const { return counter_.lease_end(); }

    /// Bytes that sealing puts in front of the inner packet: outer header, ESP header, IV.
    std::size_t headroom() const { return outer_.size() + esp_header_size + gcm_iv_size; }

    /// Bytes that sealing puts behind an inner packet of `length` bytes: padding (RFC 4303 section 2.4),
    /// trailer, ICV.
    static std::size_t tailroom(std::size_t length) {
        return (0 - (length + esp_trailer_size)) % 4 + esp_trailer_size + gcm_icv_size;
    }

    /// Bytes of the whole outer packet.
    std::size_t sealed_size(std::size_t length) const { return headroom() + length + tailroom(length); }

    /// The longest inner packet whose sealed_size() is at most `mtu`; 0 if there is none.
    std::size_t largest_inner(std::size_t mtu) const;

    lib::Spi spi() const { return spi_; }
    lib::Suite suite() const { return suite_; }
    const OuterHeader& outer() const { return outer_; }
    const KeySchedule& key() const { return key_; }

  private:
    OutboundSa(const OutboundParameters& parameters, KeySchedule key);

    KeySchedule key_;
    OuterHeader outer_;
    lib::Spi spi_;
    lib::Suite suite_;
    SequenceCounter counter_;  // brings its own cache lines
};

}  // namespace flowtap::crypto
