// TSC cycles of the classifier's stages, one thread, headers in cache:
//
//     match-bench [--json] [--taps N,N,...] [--row NAME]
//
// Rows: parse, prefilter, classify-none (parse included), classify-all (every frame matches one tap; parse
// included), fragments (every frame is a later fragment, parse and tracker included: no tap asks for ports;
// some do, of other hosts; of these hosts, first fragments known), naive (every tap verified for every
// frame), add, remove. Cycles are medians of many repetitions. Stands alone: no EAL, no huge pages.
#include "dataplane/match/fragment_tracker.h"
#include "dataplane/match/frame_parser.h"
#include "dataplane/match/key_space.h"
#include "dataplane/match/prefilter.h"
#include "dataplane/match/tap_table.h"
#include "test/support/packets.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>
#include <x86intrin.h>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

constexpr std::size_t burst_size = 32;

std::uint64_t now() {
    unsigned core = 0;
    return __rdtscp(&core);
}

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

/// Cycles a frame of run(burst number), the median of many groups of bursts.
template <typename Run>
double cycles_a_frame(std::size_t bursts, Run run) {
    constexpr int groups = 301;
    std::vector<double> samples;
    for (int group = 0; group < groups + 20; ++group) {
        const std::uint64_t from = now();
        for (std::size_t burst = 0; burst < bursts; ++burst) {
            run(burst);
        }
        const auto spent = static_cast<double>(now() - from);
        if (group >= 20) {
            samples.push_back(spent / static_cast<double>(bursts * burst_size));
        }
    }
    return quantile(samples, 0.5);
}

lib::IpAddress ipv4(std::uint32_t number) {
    lib::IpAddress address;
    for (std::size_t i = 0; i < 4; ++i) {
        address.bytes[i] = static_cast<std::uint8_t>(number >> (24 - 8 * i));
    }
    return address;
}

/// The address of tap i: all distinct, spread over 64.0.0.0/3 (the frames that match nothing lie elsewhere).
std::uint32_t tap_address(std::uint32_t i) {
    return 0x4000'0000U | ((i * 0x9e37'79b1U) & 0x1fff'ffffU);
}

/// Half of the taps name a source, half a destination.
lib::Criterion host_tap(std::uint32_t i) {
    lib::Criterion criterion;
    const lib::IpAddress host = ipv4(tap_address(i));
    (i % 2 == 0 ? criterion.source_address : criterion.dest_address).push_back({host, host, false});
    return criterion;
}

/// Frames as a receive ring holds them: each at the start of a cache line, in a buffer of 2 KB and its
/// headers.
struct Bursts {
    static constexpr std::size_t stride = 37 * 64;
    std::vector<std::uint8_t> buffers;
    std::vector<Frame> views;

    std::size_t count() const { return views.size() / burst_size; }
    std::uint8_t* data(std::size_t i) { return buffers.data() + (views[i].data - buffers.data()); }
    std::span<const Frame> burst(std::size_t i) const {
        return std::span(views).subspan(i * burst_size, burst_size);
    }
};

/// UDP frames of 60 bytes with the addresses that `address(i)` gives for frame i.
Bursts make_bursts(std::size_t bursts,
                   const std::function<std::pair<std::uint32_t, std::uint32_t>(std::size_t)>& addresses) {
    Bursts made;
    const std::size_t frames = bursts * burst_size;
    made.buffers.resize((frames + 1) * Bursts::stride);
    const auto start = reinterpret_cast<std::uintptr_t>(made.buffers.data());
    std::uint8_t* at = made.buffers.data() + (64 - start % 64) % 64;
    for (std::size_t i = 0; i < frames; ++i, at += Bursts::stride) {
        const auto [source, dest] = addresses(i);
        const Bytes frame =
            Packet()
                .ipv4({.source = lib::to_string(ipv4(source)), .dest = lib::to_string(ipv4(dest))})
                .udp()
                .frame(60);
        std::ranges::copy(frame, at);
        const auto size = static_cast<std::uint32_t>(frame.size());
        made.views.push_back({at, size, size});
    }
    return made;
}

struct Row {
    std::string name;
    std::string simd;
    std::uint64_t taps = 0;
    double cycles = 0;  // a frame; for add and remove: of the call, the median
    double p99_us = 0;  // add and remove
    double bytes_a_tap = 0;
};

class Report {
  public:
    explicit Report(bool json) : json_(json) {
        if (!json_) {
            std::printf("%-14s %-9s %10s %10s %10s %10s %8s\n", "row", "simd", "taps", "cycles", "p50_us",
                        "p99_us", "B/tap");
        }
    }
    void print(const Row& row, double ticks) const {
        if (json_) {
            nlohmann::json line{
                {"row", row.name}, {"simd", row.simd}, {"taps", row.taps}, {"cycles", row.cycles}};
            if (row.p99_us > 0) {
                line["p50_us"] = row.cycles / ticks;
                line["p99_us"] = row.p99_us;
            }
            if (row.bytes_a_tap > 0) {
                line["bytes_a_tap"] = row.bytes_a_tap;
            }
            std::printf("%s\n", line.dump().c_str());
        } else {
            std::printf("%-14s %-9s %10llu %10.1f", row.name.c_str(), row.simd.c_str(),
                        static_cast<unsigned long long>(row.taps), row.cycles);
            if (row.p99_us > 0) {
                std::printf(" %10.2f %10.2f", row.cycles / ticks, row.p99_us);
            }
            if (row.bytes_a_tap > 0) {
                std::printf(" %*.0f", row.p99_us > 0 ? 8 : 30, row.bytes_a_tap);
            }
            std::printf("\n");
        }
        std::fflush(stdout);
    }

  private:
    bool json_;
};

struct Options {
    bool json = false;
    std::string row;
    std::vector<std::uint32_t> taps{0, 1'000, 10'000, 1'000'000};
};

class Bench {
  public:
    explicit Bench(const Options& options)
        : options_(options), report_(options.json), ticks_(ticks_per_microsecond()) {}

    void run() {
        const Bursts none = make_bursts(16, [](std::size_t i) {
            const auto spread = static_cast<std::uint32_t>(i) * 0x85eb'ca6bU;
            return std::pair(0xc000'0000U | (spread >> 4), 0xc000'0000U | ((spread * 31) >> 4));
        });
        HeaderBurst headers;
        if (wanted("parse")) {
            const double cycles =
                cycles_a_frame(none.count(), [&](std::size_t i) { parse_burst(none.burst(i), headers); });
            report_.print({.name = "parse", .simd = "-", .cycles = cycles}, ticks_);
        }
        for (const std::uint32_t taps : options_.taps) {
            for (const Simd simd : {Simd::avx512, Simd::avx2, Simd::portable}) {
                if (supported(simd)) {
                    run_table(taps, simd, none);
                }
            }
        }
        if (wanted("fragments")) {
            run_fragments();
        }
        for (const std::uint32_t taps : options_.taps) {
            if (taps <= 1000 && wanted("naive")) {
                run_naive(taps, none);
            }
        }
        for (const std::uint32_t taps : options_.taps) {
            if (taps >= 10'000 && (wanted("add") || wanted("remove"))) {
                run_changes(taps);
            }
        }
    }

  private:
    bool wanted(std::string_view row) const { return options_.row.empty() || options_.row == row; }

    void run_table(std::uint32_t taps, Simd simd, const Bursts& none) {
        Quiescence quiescence(1);
        TapTable table(quiescence, {.simd = simd, .seed = 7});
        for (std::uint32_t i = 0; i < taps; ++i) {
            (void)table.stage_add(lib::TapSlot{i}, lib::TapId{i + 1}, host_tap(i), Payload{i});
        }
        (void)table.commit();
        (void)table.reclaim(std::size_t(-1));
        const auto matches = std::make_unique<Matches>();
        HeaderBurst headers;
        const auto name = std::string(to_string(simd));
        const auto classify = [&](const Bursts& bursts) {
            std::uint64_t matched = 0;
            const double cycles = cycles_a_frame(bursts.count(), [&](std::size_t i) {
                parse_burst(bursts.burst(i), headers);
                table.classify(headers, *matches);
                matched += static_cast<std::uint64_t>(std::popcount(matches->matched));
            });
            return std::pair(cycles, matched);
        };
        if (wanted("classify-none")) {
            const auto [cycles, matched] = classify(none);
            report_.print({.name = "classify-none", .simd = name, .taps = taps, .cycles = cycles}, ticks_);
            if (matched != 0) {
                std::fprintf(stderr, "classify-none: frames matched\n");
                std::exit(1);
            }
        }
        if (wanted("classify-spread")) {
            report_.print({.name = "classify-spread", .simd = name, .taps = taps, .cycles = spread(table)},
                          ticks_);
        }
        if (wanted("table-none")) {
            parse_burst(none.burst(0), headers);
            const double cycles = cycles_a_frame(32, [&](std::size_t) { table.classify(headers, *matches); });
            report_.print({.name = "table-none", .simd = name, .taps = taps, .cycles = cycles}, ticks_);
        }
        if (taps > 0 && wanted("classify-all")) {
            std::mt19937 random(1);
            const Bursts all = make_bursts(16, [&](std::size_t) {
                const std::uint32_t tap = static_cast<std::uint32_t>(random()) % taps;
                const std::uint32_t address = tap_address(tap);
                return tap % 2 == 0 ? std::pair(address, 0xc000'0001U) : std::pair(0xc000'0001U, address);
            });
            const auto [cycles, matched] = classify(all);
            report_.print({.name = "classify-all", .simd = name, .taps = taps, .cycles = cycles}, ticks_);
            if (matched != 321 * all.views.size()) {
                std::fprintf(stderr, "classify-all: %llu matched\n",
                             static_cast<unsigned long long>(matched));
                std::exit(1);
            }
        }
    }

    struct NoBuffers final : FragmentBuffers {
        rte_mbuf* copy(const rte_mbuf&) override { return nullptr; }
        void free(rte_mbuf*) override {}
    };

    /// 512 datagrams, one later fragment of each.
    void run_fragments() {
        Bursts bursts = make_bursts(16, [](std::size_t i) {
            return std::pair(0x4000'0000U + static_cast<std::uint32_t>(i), 0xc000'0001U);
        });
        constexpr std::size_t fragment_word = 14 + 6;
        const auto set_fragments = [&](std::uint8_t high, std::uint8_t low) {
            for (std::size_t i = 0; i < bursts.views.size(); ++i) {
                bursts.data(i)[fragment_word] = high;
                bursts.data(i)[fragment_word + 1] = low;
            }
        };
        const std::pair<const char*, std::uint32_t> rows[]{
            {"frag-no-ports", 0}, {"frag-others", 0x5000'0000U}, {"frag-ports", 0x4000'0000U}};
        for (const auto& [name, host] : rows) {
            Quiescence quiescence(1);
            TapTable table(quiescence, {.seed = 7});
            for (std::uint32_t i = 0; i < 1000; ++i) {
                lib::Criterion criterion;
                const lib::IpAddress address = ipv4(host != 0 ? host + i : 0x4000'0000U + i);
                criterion.source_address = {{address, address, false}};
                if (host != 0) {
                    criterion.dest_port = {{9999, 9999, false}};
                }
                (void)table.stage_add(lib::TapSlot{i}, lib::TapId{i + 1}, criterion, Payload{i});
            }
            (void)table.commit();
            NoBuffers buffers;
            lib::WorkerCounters counters{};
            FragmentTracker tracker(table, buffers, counters, {.clock_rate = 2'000'000'000});
            const auto matches = std::make_unique<Matches>();
            HeaderBurst headers;
            std::uint64_t early = 0;
            const auto pass = [&](std::size_t i) {
                parse_burst(bursts.burst(i), headers);
                early |= headers.fragments != 0 ? tracker.complete(headers, 1) : 0;
                table.classify(headers, *matches);
            };
            set_fragments(0x20, 0);
            for (std::size_t i = 0; i < bursts.count(); ++i) {
                pass(i);
            }
            set_fragments(0x20, 0x10);
            const double cycles = cycles_a_frame(bursts.count(), pass);
            report_.print(
                {.name = name, .simd = to_string(table.simd()).data(), .taps = 1000, .cycles = cycles},
                ticks_);
            if (early != 0) {
                std::fprintf(stderr, "fragments: some were early\n");
                std::exit(1);
            }
        }
    }

    /// Like classify-none, but with addresses that were not seen before, so that the table's own memory is as
    /// cold as it gets: each burst is timed alone, between frames that are rewritten in place.
    double spread(const TapTable& table) const {
        const auto matches = std::make_unique<Matches>();
        HeaderBurst headers;
        Bursts bursts = make_bursts(1, [](std::size_t) { return std::pair(0U, 0U); });
        std::mt19937_64 random(5);
        std::vector<double> samples;
        std::vector<double> clock;
        for (int round = 0; round < 20'000; ++round) {
            for (std::size_t i = 0; i < burst_size; ++i) {
                const std::uint64_t addresses = random() | 0xc000'0000'c000'0000U;
                std::memcpy(bursts.data(i) + 26, &addresses, sizeof addresses);
            }
            const std::uint64_t before = now();
            const std::uint64_t from = now();
            parse_burst(bursts.burst(0), headers);
            table.classify(headers, *matches);
            samples.push_back(static_cast<double>(now() - from));
            clock.push_back(static_cast<double>(from - before));
        }
        return (quantile(samples, 0.5) - quantile(clock, 0.5)) / burst_size;
    }

    void run_naive(std::uint32_t taps, const Bursts& bursts) {
        std::vector<lib::Criterion> criteria;
        for (std::uint32_t i = 0; i < taps; ++i) {
            criteria.push_back(host_tap(i));
        }
        HeaderBurst headers;
        std::uint64_t matched = 0;
        const double cycles = cycles_a_frame(1, [&](std::size_t i) {
            parse_burst(bursts.burst(i), headers);
            for (const Headers& frame : std::span(headers.headers).first(headers.count)) {
                for (const lib::Criterion& criterion : criteria) {
                    const auto in = [](const lib::AddressList& list, const auto& address) {
                        return list.empty() || std::ranges::any_of(list, [&](const lib::AddressTerm& term) {
                                   return term.first.bytes <= address && address <= term.last.bytes;
                               });
                    };
                    matched +=
                        in(criterion.source_address, frame.source) && in(criterion.dest_address, frame.dest);
                }
            }
        });
        report_.print(
            {.name = "naive", .simd = "-", .taps = taps, .cycles = cycles + static_cast<double>(matched) * 0},
            ticks_);
    }

    // Each call is timed alone: staged one by one, each with its commit, while the table holds `taps`.
    void run_changes(std::uint32_t taps) {
        Quiescence quiescence(1);
        TapTable table(quiescence, {.max_taps = std::max(taps + 1, 1'048'576U), .seed = 7});
        std::vector<double> growing;
        for (std::uint32_t i = 0; i < taps; ++i) {
            const lib::Criterion criterion = host_tap(i);
            const std::uint64_t from = now();
            (void)table.stage_add(lib::TapSlot{i}, lib::TapId{i + 1}, criterion, Payload{i});
            (void)table.commit();
            growing.push_back(static_cast<double>(now() - from));
            (void)table.reclaim(8);
        }
        while (table.reclaim()) {
        }
        const double bytes = static_cast<double>(table.usage().bytes) / taps;
        std::vector<double> adds;
        std::vector<double> removes;
        std::vector<double> reclaims;
        std::mt19937 random(3);
        for (std::uint32_t round = 0; round < 100'000; ++round) {
            const std::uint32_t victim = static_cast<std::uint32_t>(random()) % taps;
            const lib::Criterion criterion = host_tap(victim);
            std::uint64_t from = now();
            (void)table.stage_remove(lib::TapSlot{victim}, lib::TapId{victim + 1});
            (void)table.commit();
            removes.push_back(static_cast<double>(now() - from));
            from = now();
            (void)table.reclaim();
            reclaims.push_back(static_cast<double>(now() - from));
            from = now();
            (void)table.stage_add(lib::TapSlot{victim}, lib::TapId{victim + 1}, criterion, Payload{victim});
            (void)table.commit();
            adds.push_back(static_cast<double>(now() - from));
        }
        const auto print = [&](const char* name, const std::vector<double>& samples, double bytes_a_tap) {
            report_.print({.name = name,
                           .simd = "-",
                           .taps = taps,
                           .cycles = quantile(samples, 0.5),
                           .p99_us = quantile(samples, 0.99) / ticks_,
                           .bytes_a_tap = bytes_a_tap},
                          ticks_);
        };
        print("add-growing", growing, bytes);
        print("add", adds, 0);
        print("remove", removes, 0);
        print("reclaim", reclaims, 0);
    }

    Options options_;
    Report report_;
    double ticks_;
};

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    flowtap::test::Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--json") {
            options.json = true;
        } else if (argument == "--row" && i + 1 < argc) {
            options.row = argv[++i];
        } else if (argument == "--taps" && i + 1 < argc) {
            options.taps.clear();
            std::string_view list = argv[++i];
            while (!list.empty()) {
                const std::size_t end = std::min(list.find(','), list.size());
                std::uint32_t taps = 0;
                if (std::from_chars(list.data(), list.data() + end, taps).ec != std::errc{}) {
                    std::fprintf(stderr, "match-bench: --taps wants numbers with commas between them\n");
                    return 2;
                }
                options.taps.push_back(taps);
                list.remove_prefix(std::min(end + 1, list.size()));
            }
        } else {
            std::fprintf(stderr, "usage: match-bench [--json] [--taps N,N,...] [--row NAME]\n");
            return 2;
        }
    }
    flowtap::test::Bench(options).run();
    return 0;
}
