// What the microbenchmarks of classifying share: the clock, medians, and rows as a table or as JSON lines.
//
// Thread safety: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>
#include <x86intrin.h>

namespace flowtap::test {

inline constexpr std::size_t burst_size = 32;  ///< frames

/// TSC cycles.
inline std::uint64_t now() {
    unsigned core = 0;
    return __rdtscp(&core);
}

double ticks_per_microsecond();

/// The sample that `part` (0..1) of the others lie below.
double quantile(std::vector<double> values, double part);

/// Cycles a frame of run(burst number), the median of many groups of bursts.
template <typename Run>
double cycles_a_frame(std::size_t bursts, Run run) {
    constexpr int groups = 301;
    constexpr int warm_up = 20;
    std::vector<double> samples;
    for (int group = 0; group < groups + warm_up; ++group) {
        const std::uint64_t from = now();
        for (std::size_t burst = 0; burst < bursts; ++burst) {
            run(burst);
        }
        const auto spent = static_cast<double>(now() - from);
        if (group >= warm_up) {
            samples.push_back(spent / static_cast<double>(bursts * burst_size));
        }
    }
    return quantile(samples, 0.5);
}

/// Cycles a frame of run(), the median of many bursts, each of which prepare() makes anew.
template <typename Prepare, typename Run>
double cycles_a_fresh_frame(Prepare prepare, Run run) {
    std::vector<double> samples;
    std::vector<double> clock;
    for (int round = 0; round < 20'000; ++round) {
        prepare();
        const std::uint64_t before = now();
        const std::uint64_t from = now();
        run();
        samples.push_back(static_cast<double>(now() - from));
        clock.push_back(static_cast<double>(from - before));
    }
    return (quantile(samples, 0.5) - quantile(clock, 0.5)) / burst_size;
}

/// What is 0 is not printed, `taps` and `cycles` aside.
struct Row {
    std::string name;
    std::string simd;
    std::uint64_t taps = 0;
    double cycles = 0;  // a frame; for add and remove: of the call, the median
    double p99 = 0;     // cycles of the call
    double bytes_a_tap = 0;
    double build_ms = 0;  // of the whole table
    double ratio = 0;     // to the clean frames of the same table
};

class Report {
  public:
    explicit Report(bool json);
    void print(const Row& row) const;

  private:
    bool json_;
    double ticks_;
};

struct Options {
    bool json = false;
    std::string row{};  ///< only this one; empty: all
    std::vector<std::uint32_t> taps{};

    bool wanted(std::string_view name) const { return row.empty() || row == name; }
};

/// [--json] [--taps N,N,...] [--row NAME]; `taps` if there is no --taps. Ends the process on anything else.
Options read_options(int argc, char* argv[], std::vector<std::uint32_t> taps);

}  // namespace flowtap::test
