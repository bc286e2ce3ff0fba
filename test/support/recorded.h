// The recorded frames beside the project's folder (../shared/pcaps), where that exists.
#pragma once

#include "test/support/packets.h"

#include <vector>

namespace flowtap::test {

/// Every whole Ethernet frame of every capture file, of 14 to 9216 bytes; none where there are no files.
const std::vector<Bytes>& recorded_frames();

}  // namespace flowtap::test
