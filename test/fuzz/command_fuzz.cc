// Any bytes as command records of the ring: what the reader lets through is judged by rules written a second
// time.
#include "test/unit/lib/command_judge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace flowtap::lib;
    const ReaderLimits limits{.max_taps = 16, .tunnel_count = 2, .max_changes = 64, .max_parts = 4096};
    CommandReader reader(limits);
    while (size > 0) {
        CommandRecord record;
        const std::size_t taken = std::min(size, record.bytes.size());
        std::memcpy(record.bytes.data(), data, taken);
        data += taken;
        size -= taken;
        const auto batch = reader.take(record);
        if (batch && !flowtap::test::judge_batch(*batch, limits).empty()) {
            std::abort();
        }
        if (batch && batch->changes.size() > 64) {
            std::abort();
        }
    }
    return 0;
}
