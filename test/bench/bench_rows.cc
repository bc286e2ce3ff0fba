#include "test/bench/bench_rows.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace flowtap::test {
namespace {

[[noreturn]] void refuse(const char* program) {
    const std::string_view path = program;
    const std::string name{path.substr(path.rfind('/') + 1)};
    std::fprintf(stderr, "usage: %s [--json] [--taps N,N,...] [--row NAME]\n", name.c_str());
    std::exit(2);
}

std::vector<std::uint32_t> numbers(std::string_view list, const char* program) {
    std::vector<std::uint32_t> numbers;
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(','), list.size());
        std::uint32_t number = 0;
        const auto [stop, error] = std::from_chars(list.data(), list.data() + end, number);
        if (error != std::errc{} || stop != list.data() + end) {
            refuse(program);
        }
        numbers.push_back(number);
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return numbers;
}

}  // namespace

double ticks_per_microsecond() {
    using namespace std::chrono;
    const auto from = steady_clock::now();
    const std::uint64_t first = now();
    while (steady_clock::now() - from < 50ms) {
    }
    const double elapsed = duration<double, std::micro>(steady_clock::now() - from).count();
    return static_cast<double>(now() - first) / elapsed;
}

double quantile(std::vector<double> values, double part) {
    const auto place = static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + place, values.end());
    return values[static_cast<std::size_t>(place)];
}

Report::Report(bool json) : json_(json), ticks_(ticks_per_microsecond()) {
    if (!json_) {
        std::printf("%-24s %-9s %10s %10s\n", "row", "simd", "taps", "cycles");
    }
}

void Report::print(const Row& row) const {
    if (json_) {
        nlohmann::json line{
            {"row", row.name}, {"simd", row.simd}, {"taps", row.taps}, {"cycles", row.cycles}};
        if (row.p99 == 0 && row.cycles > 0) {
            line["mpps"] = ticks_ / row.cycles;
        }
        if (row.p99 > 0) {
            line["p50_us"] = row.cycles / ticks_;
            line["p99_us"] = row.p99 / ticks_;
        }
        if (row.bytes_a_tap > 0) {
            line["bytes_a_tap"] = row.bytes_a_tap;
        }
        if (row.build_ms > 0) {
            line["build_ms"] = row.build_ms;
        }
        if (row.ratio > 0) {
            line["ratio"] = row.ratio;
        }
        std::printf("%s\n", line.dump().c_str());
    } else {
        std::printf("%-24s %-9s %10llu %10.1f", row.name.c_str(), row.simd.c_str(),
                    static_cast<unsigned long long>(row.taps), row.cycles);
        if (row.p99 > 0) {
            std::printf("  p50 %.2f us, p99 %.2f us", row.cycles / ticks_, row.p99 / ticks_);
        }
        if (row.bytes_a_tap > 0) {
            std::printf("  %.0f bytes a tap", row.bytes_a_tap);
        }
        if (row.build_ms > 0) {
            std::printf("  built in %.1f ms", row.build_ms);
        }
        if (row.ratio > 0) {
            std::printf("  %.2f of clean", row.ratio);
        }
        std::printf("\n");
    }
    std::fflush(stdout);
}

Options read_options(int argc, char* argv[], std::vector<std::uint32_t> taps) {
    Options options{.taps = std::move(taps)};
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--json") {
            options.json = true;
        } else if (argument == "--row" && i + 1 < argc) {
            options.row = argv[++i];
        } else if (argument == "--taps" && i + 1 < argc) {
            options.taps = numbers(argv[++i], argv[0]);
        } else {
            refuse(argv[0]);
        }
    }
    return options;
}

}  // namespace flowtap::test
