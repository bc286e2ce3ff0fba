// Criteria and frames out of a fuzzer's bytes, of what match_pools.h has: so that taps share keys and frames
// hit.
#pragma once

#include "dataplane/match/fragment_table.h"
#include "lib/criterion.h"
#include "test/fuzz/input.h"
#include "test/support/packets.h"

#include <cstdint>

namespace flowtap::fuzz {

lib::Criterion read_criterion(Input& input);

/// Makes of one criterion the `number`th of a crowd, whose members differ by what `way` says, or by nothing.
lib::Criterion one_of_crowd(const lib::Criterion& criterion, std::uint8_t way, std::uint16_t number);

test::Bytes read_frame(Input& input);

/// What a first fragment may say.
dataplane::match::UpperFacts read_upper(Input& input);

}  // namespace flowtap::fuzz
