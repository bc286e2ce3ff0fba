// A tap's criterion in the language of pcap-filter(7), for what both can say.
#pragma once

#include "lib/criterion.h"

#include <cstdint>
#include <optional>
#include <string>

namespace flowtap::test {

/// What a frame that came in at `port` must be to match; none where BPF cannot say it (an address range that
/// is neither a host nor a prefix, more than 24 terms) or where the tap has no interface at the port.
std::optional<std::string> bpf_text(const lib::Criterion& criterion, std::uint16_t port);

}  // namespace flowtap::test
