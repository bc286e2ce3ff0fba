// The summary that a run ends with: for a person, or one JSON object on a line. Both end with a line end.
#pragma once

#include "tools/receive/receiver.h"

#include <cstdint>
#include <optional>
#include <string>

namespace flowtap::tools::receive {

/// `dropped`: frames that the kernel dropped before they could be read.
std::string text_report(const Statistics& statistics, std::uint64_t dropped);

/// {"frames_other", "esp_packets", "copies", "bytes", "dummies", "refused", "refused_by": {cause: n},
///  "destinations": [{"address", "port", "packets", "bytes"}],
///  "taps": [{"address", "port", "shim", "id", "session", "packets", "bytes", "to_target", "from_target",
///            "truncated", "fragments", "seen", "gaps", "expected", "received", "reported_dropped",
///            "missing", "duplicates", "before_first", "sender_dropped"}] (from "truncated" on: of our shim),
///  "whole_frames",
///  "sequence": {"seen": [{"first", "last"}], "missing", "duplicates", "gaps": [{"first", "last", "count"}]},
///  "capture_dropped"}
///
/// With `time` (ns since 1970) also "time", in seconds.
std::string json_report(const Statistics& statistics, std::uint64_t dropped,
                        std::optional<std::int64_t> time = std::nullopt);

}  // namespace flowtap::tools::receive
