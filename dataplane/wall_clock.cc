#include "dataplane/wall_clock.h"

#include <rte_cycles.h>

#include <ctime>

namespace flowtap::dataplane {

void WallClock::adjust() {
    constexpr std::uint64_t longest = 20'000;  // ns
    constexpr int attempts = 3;                // the last one counts, or a slow machine never had a time
    for (int attempt = 1;; ++attempt) {
        const std::uint64_t before = rte_rdtsc();
        std::timespec time{};
        ::clock_gettime(CLOCK_REALTIME, &time);
        const std::uint64_t after = rte_rdtsc();
        if (attempt == attempts || since_zero(after - before) <= longest) {
            set(before + (after - before) / 2, static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
                                                   static_cast<std::uint64_t>(time.tv_nsec));
            return;
        }
    }
}

}  // namespace flowtap::dataplane
