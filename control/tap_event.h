// What happened to taps of its own accord, and what a source asked to be told: for notifications.
#pragma once

#include "control/sources.h"
#include "lib/dtcp/add.h"
#include "lib/records.h"

#include <cstdint>
#include <string>
#include <vector>

namespace flowtap::control {

enum class TapEnd : std::uint8_t {
    idle,     ///< Timeout-Idle
    total,    ///< Timeout-Total
    packets,  ///< Timeout-Packets
    bytes,    ///< Timeout-Bytes
    removed,  ///< DELETE, or whoever else called Tasking::remove()
};

/// A tap that is gone: the dataplane has said so, and the registry has forgotten it.
struct TapEvent {
    TapEnd end{};
    lib::TapId id{};
    SourceIndex source{};
    bool send_async = false;          ///< its ADD had Flags: SendAsync
    std::vector<std::string> cdests;  ///< its Cdest-IDs, unescaped
    /// As ADD or REFRESH said last; unset: the tap has no such timeout.
    lib::dtcp::Timeouts specified;
    /// When it ended; the timeout that ended it is 0.
    lib::dtcp::Timeouts remaining;
};

/// A NOOP with SendAsync, which has been answered.
struct NoopEvent {
    SourceIndex source{};
};

}  // namespace flowtap::control
