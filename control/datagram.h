// A UDP datagram and the way that it goes.
#pragma once

#include "lib/config.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace flowtap::control {

struct Datagram {
    std::string bytes;
    lib::Endpoint peer;
    /// Of this box: where the request came to, and so where its answer comes from. Of the peer's family.
    lib::IpAddress local;
    std::uint32_t interface = 0;  ///< IPv6 link-local peers only: else 0
    std::size_t socket = 0;       ///< which of the transport's
};

}  // namespace flowtap::control
