// TSC cycles of the classifier's stages, one thread, headers in cache:
//
//     match-bench [--json] [--taps N,N,...] [--row NAME]
//
// Rows: parse, parse-asked (and everybody's headers are asked for), parse-naive (frame by frame),
// classify-none (parse included), classify-all (every frame matches one tap; parse included), fragments
// (every frame is a later fragment, parse and tracker included: no tap asks for ports; some do, of other
// hosts; of these hosts, first fragments known), naive (every tap verified for every frame), add, remove.
// Cycles are medians of many repetitions. Stands alone: no EAL, no huge pages.
#include "dataplane/match/fragment_tracker.h"
#include "dataplane/match/frame_parser.h"
#include "dataplane/match/key_space.h"
#include "dataplane/match/prefilter.h"
#include "dataplane/match/tap_table.h"
#include "test/bench/bench_frames.h"
#include "test/bench/bench_rows.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

class Bench {
  public:
    explicit Bench(const Options& options) : options_(options), report_(options.json) {}

    void run() {
        const Bursts none = make_udp_bursts(16, far_addresses);
        run_parser(none);
        for (const std::uint32_t taps : options_.taps) {
            for (const Simd simd : {Simd::avx512, Simd::avx2, Simd::portable}) {
                if (supported(simd)) {
                    run_table(taps, simd, none);
                }
            }
        }
        if (options_.wanted("fragments")) {
            run_fragments();
        }
        for (const std::uint32_t taps : options_.taps) {
            if (taps <= 1000 && options_.wanted("naive")) {
                run_naive(taps, none);
            }
        }
        for (const std::uint32_t taps : options_.taps) {
            if (taps >= 10'000 && (options_.wanted("add") || options_.wanted("remove"))) {
                run_changes(taps);
            }
        }
    }

  private:
    void run_parser(const Bursts& bursts) {
        HeaderBurst headers;
        for (const Simd simd : {Simd::avx512, Simd::avx2, Simd::portable}) {
            if (!supported(simd)) {
                continue;
            }
            const CommonFunction common = common_function(simd);
            const auto name = std::string(to_string(simd));
            const auto parse = [&](std::size_t i) { parse_burst(bursts.burst(i), headers, common); };
            if (options_.wanted("parse")) {
                report_.print(
                    {.name = "parse", .simd = name, .cycles = cycles_a_frame(bursts.count(), parse)});
            }
            if (options_.wanted("parse-asked")) {
                const double cycles = cycles_a_frame(bursts.count(), [&](std::size_t i) {
                    parse(i);
                    for (std::size_t frame = 0; frame < burst_size; ++frame) {
                        keep(headers.headers[frame]);
                    }
                });
                report_.print({.name = "parse-asked", .simd = name, .cycles = cycles});
            }
        }
        if (options_.wanted("parse-naive")) {
            std::array<Headers, burst_size> results;
            const double cycles = cycles_a_frame(bursts.count(), [&](std::size_t i) {
                const std::span<const Frame> burst = bursts.burst(i);
                for (std::size_t frame = 0; frame < burst_size; ++frame) {
                    results[frame] = parse_frame(burst[frame]);
                    keep(results[frame]);
                }
            });
            report_.print({.name = "parse-naive", .simd = "-", .cycles = cycles});
        }
    }

    /// Somebody has to want the value, or it is not computed.
    static void keep(const Headers& headers) { asm volatile("" : : "r"(&headers) : "memory"); }

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
        const CommonFunction common = common_function(simd);
        const auto classify = [&](const Bursts& bursts) {
            std::uint64_t matched = 0;
            const double cycles = cycles_a_frame(bursts.count(), [&](std::size_t i) {
                parse_burst(bursts.burst(i), headers, common);
                table.classify(headers, *matches);
                matched += static_cast<std::uint64_t>(std::popcount(matches->matched));
            });
            return std::pair(cycles, matched);
        };
        if (options_.wanted("classify-none")) {
            const auto [cycles, matched] = classify(none);
            report_.print({.name = "classify-none", .simd = name, .taps = taps, .cycles = cycles});
            if (matched != 0) {
                std::fprintf(stderr, "classify-none: frames matched\n");
                std::exit(1);
            }
        }
        if (options_.wanted("classify-spread")) {
            report_.print({.name = "classify-spread", .simd = name, .taps = taps, .cycles = spread(table)});
        }
        if (options_.wanted("table-none")) {
            parse_burst(none.burst(0), headers);
            const double cycles = cycles_a_frame(32, [&](std::size_t) { table.classify(headers, *matches); });
            report_.print({.name = "table-none", .simd = name, .taps = taps, .cycles = cycles});
        }
        if (taps > 0 && options_.wanted("classify-all")) {
            std::mt19937 random(1);
            const Bursts all = make_udp_bursts(16, [&](std::size_t) {
                const std::uint32_t tap = static_cast<std::uint32_t>(random()) % taps;
                const std::uint32_t address = tap_address(tap);
                return tap % 2 == 0 ? std::pair(address, 0xc000'0001U) : std::pair(0xc000'0001U, address);
            });
            const auto [cycles, matched] = classify(all);
            report_.print({.name = "classify-all", .simd = name, .taps = taps, .cycles = cycles});
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
        Bursts bursts = make_udp_bursts(16, [](std::size_t i) {
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
                {.name = name, .simd = std::string(to_string(table.simd())), .taps = 1000, .cycles = cycles});
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
        Bursts bursts = make_udp_bursts(1, [](std::size_t) { return std::pair(0U, 0U); });
        std::mt19937_64 random(5);
        return cycles_a_fresh_frame(
            [&] {
                for (std::size_t i = 0; i < burst_size; ++i) {
                    const std::uint64_t addresses = random() | 0xc000'0000'c000'0000U;
                    std::memcpy(bursts.data(i) + 26, &addresses, sizeof addresses);
                }
            },
            [&] {
                parse_burst(bursts.burst(0), headers);
                table.classify(headers, *matches);
            });
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
            for (std::size_t place = 0; place < headers.count; ++place) {
                const Headers& frame = headers.headers[place];
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
        // Somebody has to want to know, or nothing is compared.
        if (taps != 0 && matched != 0) {
            std::fprintf(stderr, "naive: frames matched\n");
            std::exit(1);
        }
        report_.print({.name = "naive", .simd = "-", .taps = taps, .cycles = cycles});
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
                           .p99 = quantile(samples, 0.99),
                           .bytes_a_tap = bytes_a_tap});
        };
        print("add-growing", growing, bytes);
        print("add", adds, 0);
        print("remove", removes, 0);
        print("reclaim", reclaims, 0);
    }

    Options options_;
    Report report_;
};

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    flowtap::test::Bench(flowtap::test::read_options(argc, argv, {0, 1'000, 10'000, 1'000'000})).run();
    return 0;
}
