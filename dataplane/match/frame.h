// A frame as the parser is shown it.
#pragma once

#include <cstdint>

namespace flowtap::dataplane::match {

struct Frame {
    const std::uint8_t* data = nullptr;  ///< the destination MAC address; may be null when readable is 0
    std::uint32_t readable = 0;          ///< contiguous bytes at data; with chained buffers, of the first one
    std::uint32_t length = 0;            ///< bytes of the whole frame without FCS, at least readable
};

}  // namespace flowtap::dataplane::match
