// Copies between two byte streams, one each way, until either side ends.
#pragma once

#include <cstddef>

namespace flowtap::control::ssh {

/// The client's side (sshd's pipes) and the service's side (a connected stream socket). All non-blocking; the
/// caller keeps owning them.
struct BridgeEnds {
    int from_client = -1;
    int to_client = -1;
    int service = -1;
};

/// Bytes on their way in each direction at most; when the reader of a direction is slow, its writer is not
/// read.
inline constexpr std::size_t bridge_buffer = std::size_t{64} * 1024;

enum class BridgeEnd {
    served,
    cut,  ///< the service failed or stopped taking requests before the client ended
};

/// When the client ends its stream the service is told (its input ends) and its remaining answers still go
/// out; when the service ends, what it answered before still goes out; when nobody reads the client's side
/// any more the bridge ends at once. Needs SIGPIPE ignored.
BridgeEnd run_bridge(const BridgeEnds& ends);

}  // namespace flowtap::control::ssh
