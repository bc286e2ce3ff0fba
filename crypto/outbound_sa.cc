#include "crypto/outbound_sa.h"

#include <fmt/format.h>

#include <utility>

namespace flowtap::crypto {

OutboundSa::OutboundSa(const OutboundParameters& parameters, KeySchedule key)
    : key_(std::move(key)),
      outer_(parameters.local, parameters.remote, parameters.ttl, parameters.dscp,
             parameters.udp_encapsulation),
      spi_(parameters.spi),
      extended_(parameters.extended_sequence),
      padded_length_(parameters.padded_length),
      counter_(parameters.lease, parameters.extended_sequence) {}

std::expected<std::unique_ptr<OutboundSa>, SaError> OutboundSa::create(const Engine& engine,
                                                                       const OutboundParameters& parameters) {
    using enum SaError::Cause;
    if (std::to_underlying(parameters.spi) < lib::first_spi) {
        return std::unexpected(SaError{spi, fmt::format("SPI {}; {} or more is needed",
                                                        std::to_underlying(parameters.spi), lib::first_spi)});
    }
    if (lib::find_suite(parameters.suite) == nullptr) {
        return std::unexpected(SaError{suite, "unknown suite"});
    }
    if (parameters.local.family != parameters.remote.family) {
        return std::unexpected(SaError{addresses, "the tunnel's two ends are of different IP versions"});
    }
    if (parameters.dscp.value_or(0) > 63) {
        return std::unexpected(SaError{dscp, fmt::format("DSCP {}; at most 63 fits", *parameters.dscp)});
    }
    if (!SequenceCounter::valid(parameters.lease)) {
        return std::unexpected(SaError{
            lease, fmt::format("counter lease of {} values from {} on; it must not be empty nor reach 2^64",
                               parameters.lease.count, parameters.lease.first)});
    }
    auto schedule = KeySchedule::create(engine, parameters.suite, parameters.key);
    if (!schedule) {
        const auto* const info = lib::find_suite(parameters.suite);
        const bool right_size = parameters.key.size() == info->key_material_size();
        return std::unexpected(SaError{right_size ? memory : key, schedule.error()});
    }
    return std::unique_ptr<OutboundSa>(new OutboundSa(parameters, std::move(*schedule)));
}

std::size_t OutboundSa::largest_inner(std::size_t mtu) const {
    const std::size_t around = headroom() + suite().icv_size;
    const std::size_t encrypted = mtu > around ? (mtu - around) / suite().alignment * suite().alignment : 0;
    const std::size_t largest = encrypted > esp_trailer_size ? encrypted - esp_trailer_size : 0;
    if (padded_length_ == 0) {
        return largest;
    }
    return padded_length_ <= largest ? padded_length_ : 0;
}

}  // namespace flowtap::crypto
