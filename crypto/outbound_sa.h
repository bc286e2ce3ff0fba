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

#include <algorithm>
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
    std::span<const std::uint8_t> key{};  ///< as of KeySchedule; copied, the original is the caller's to wipe
    lib::IpAddress local{};               ///< outer source
    lib::IpAddress remote{};              ///< outer destination, of the same family
    lib::Lease lease{};                   ///< counter values that may be used (SequenceCounter::valid)
    std::uint8_t ttl = 64;                ///< outer TTL or hop limit
    std::optional<std::uint8_t> dscp{};   ///< outer DSCP, 0..63; unset: the inner packet's
    bool extended_sequence = false;       ///< 64-bit sequence numbers (RFC 4303 section 2.2.1)
    bool udp_encapsulation = false;       ///< in UDP, port 4500 to 4500 (RFC 3948)
    std::uint16_t padded_length = 0;  ///< TFC: shorter inner packets are filled to it (RFC 4303 section 2.7)
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
    std::size_t headroom() const { return outer_.size() + esp_header_size + suite().iv_size; }

    /// Bytes that sealing puts behind an inner packet of `length` bytes: TFC padding (RFC 4303 section 2.7),
    /// padding (section 2.4), trailer, ICV.
    std::size_t tailroom(std::size_t length) const {
        const std::size_t filled = filled_length(length);
        const std::size_t alignment = suite().alignment;  // a power of two
        return filled - length + ((0 - (filled + esp_trailer_size)) & (alignment - 1)) + esp_trailer_size +
               suite().icv_size;
    }

    /// `length`, or what TFC padding makes of it.
    std::size_t filled_length(std::size_t length) const {
        return std::max<std::size_t>(length, padded_length_);
    }

    /// Bytes of the whole outer packet.
    std::size_t sealed_size(std::size_t length) const { return headroom() + length + tailroom(length); }

    /// The longest inner packet that is to be sealed where the outer one may have `mtu` bytes: longer ones go
    /// in fragments. Where there is TFC padding it is the padded length, so that all packets look alike. 0 if
    /// there is none.
    std::size_t largest_inner(std::size_t mtu) const;

    lib::Spi spi() const { return spi_; }
    const lib::SuiteInfo& suite() const { return key_.suite(); }
    bool extended_sequence() const { return extended_; }
    const OuterHeader& outer() const { return outer_; }
    const KeySchedule& key() const { return key_; }

  private:
    OutboundSa(const OutboundParameters& parameters, KeySchedule key);

    KeySchedule key_;
    OuterHeader outer_;
    lib::Spi spi_;
    bool extended_;
    std::uint16_t padded_length_;
    SequenceCounter counter_;  // brings its own cache lines
};

}  // namespace flowtap::crypto
