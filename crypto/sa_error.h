// Why a security association was not created.
#pragma once

#include <cstdint>
#include <string>

namespace flowtap::crypto {

struct SaError {
    /// The parameter that was refused; `memory`: no (lockable) memory for the key.
    enum class Cause : std::uint8_t { spi, suite, key, lease, addresses, dscp, window, memory };
    Cause cause;
    std::string message;  ///< what was found and what would be right; never a key
};

}  // namespace flowtap::crypto
