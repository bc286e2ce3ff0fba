#include "crypto/inbound_sa.h"

#include <fmt/format.h>

#include <utility>

namespace flowtap::crypto {

InboundSa::InboundSa(const InboundParameters& parameters, KeySchedule key)
    : key_(std::move(key)), spi_(parameters.spi) {
    if (parameters.window) {
        window_.emplace(*parameters.window);
    }
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
        const bool right_size = parameters.key.size() == info->key_size + info->salt_size;
        return std::unexpected(SaError{right_size ? memory : key, schedule.error()});
    }
    return std::unique_ptr<InboundSa>(new InboundSa(parameters, std::move(*schedule)));
}

}  // namespace flowtap::crypto
