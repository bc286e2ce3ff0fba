#include "crypto/inbound_sa.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace flowtap::crypto {

InboundSa::InboundSa(const InboundParameters& parameters, KeySchedule key)
    : key_(std::move(key)),
      spi_(parameters.spi),
      window_size_(parameters.window),
      extended_(parameters.extended_sequence) {
    restart(parameters.highest);
}

void InboundSa::restart(std::uint64_t highest) {
    if (window_size_) {
        window_.emplace(*window_size_);
    }
    highest_ = 0;
    if (highest != 0) {
        seen(highest);
    }
}

void InboundSa::seen(std::uint64_t sequence) {
    if (window_) {
        window_->mark(sequence);
    }
    highest_ = std::max(highest_, sequence);
}

std::optional<std::uint64_t> InboundSa::inferred_sequence(std::uint32_t low) const {
    // Without a window to go by: the number that is nearest to the highest one.
    constexpr std::uint32_t half = std::uint32_t{1} << 31;
    const std::uint32_t window = window_size_ ? static_cast<std::uint32_t>(*window_size_) : half;
    const auto top = static_cast<std::uint32_t>(highest_);
    const std::uint64_t high = highest_ >> 32;
    const std::uint32_t bottom = top - (window - 1);  // modulo 2^32, as the appendix has it
    const bool before = low >= bottom;
    const std::uint64_t all = std::uint64_t{1} << 32;
    // One more than the high half, so that neither end of the numbers is crossed.
    std::uint64_t above = high + (top >= window - 1 ? (before ? 1 : 2) : (before ? 0 : 1));
    if (above == 0 && !window_size_) {
        above = 1;  // whoever starts to listen in the upper half of the first round
    }
    return above == 0 || above > all ? std::nullopt : std::optional((above - 1) << 32 | low);
}

std::expected<std::unique_ptr<InboundSa>, SaError> InboundSa::create(const Engine& engine,
                                                                     const InboundParameters& parameters) {
    using enum SaError::Cause;
    if (std::to_underlying(parameters.spi) < lib::first_spi) {
        return std::unexpected(SaError{spi, fmt::format("SPI {}; {} or more is needed",
                                                        std::to_underlying(parameters.spi), lib::first_spi)});
    }
    const lib::SuiteInfo* const info = lib::find_suite(parameters.suite);
    if (info == nullptr) {
        return std::unexpected(SaError{suite, "unknown suite"});
    }
    if (parameters.window && !ReplayWindow::valid(*parameters.window)) {
        return std::unexpected(
            SaError{window, fmt::format("replay window of {}; {} to {} is possible", *parameters.window,
                                        ReplayWindow::smallest, ReplayWindow::largest)});
    }
    auto schedule = KeySchedule::create(engine, parameters.suite, parameters.key);
    if (!schedule) {
        const bool right_size = parameters.key.size() == info->key_material_size();
        return std::unexpected(SaError{right_size ? memory : key, schedule.error()});
    }
    return std::unique_ptr<InboundSa>(new InboundSa(parameters, std::move(*schedule)));
}

}  // namespace flowtap::crypto
