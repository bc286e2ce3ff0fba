// A content destination for tests that care for its encapsulation, not for where it is.
#pragma once

#include "lib/records.h"

namespace flowtap::test {

/// 1.1.1.1 port 6000 to 2.2.2.1 port 5000, or the same bytes as IPv6 addresses.
inline lib::TapDestination some_destination(lib::Family family) {
    lib::TapDestination result;
    result.family = family;
    result.ttl = 64;
    result.dest_port = 5000;
    result.source_port = 6000;
    result.dest_address = {2, 2, 2, 1};
    result.source_address = {1, 1, 1, 1};
    return result;
}

}  // namespace flowtap::test
