// TSC cycles of what DPDK itself offers for match-bench's question, one thread, headers in cache:
//
//     acl-bench [--json] [--taps N,N,...] [--row NAME]
//
// Rows, all of frames that match nothing:
//   acl-none, acl-near    rte_acl: a rule of a 5-tuple for each of match-bench's taps (half of them name a
//   source, half a
//                         destination; the rest is any). Frames are match-bench's, or have addresses among
//                         the taps', where a trie cannot stop at the first byte
//   acl-dest-near         the same with all rules of a destination, which makes a smaller trie
//   acl-dest-spread       with addresses that were not seen before (match-bench: classify-spread)
//   hash-none, hash-spread  rte_hash: bulk look-up of the destination address, one exact length and side only
// Parsing is in none of them. Reads no huge pages, as match-bench: EAL without any, and without devices.
#include "test/bench/bench_frames.h"
#include "test/bench/bench_rows.h"

#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_vect.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace flowtap::test {
namespace {

constexpr std::uint32_t ipv4_offset = 14;
constexpr std::uint32_t most_acl_rules = 100'000;  // beyond, building takes minutes and gigabytes

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "acl-bench: %s: %s\n", what, rte_strerror(rte_errno));
    std::exit(1);
}

enum Field : std::uint8_t { protocol, source, dest, source_port, dest_port, field_count };

// Offsets from the IPv4 header. The first field has to be one byte; ports share a word of the input
// (rte_acl.h).
constexpr std::array<rte_acl_field_def, field_count> fields{{
    {RTE_ACL_FIELD_TYPE_BITMASK, 1, protocol, 0, 9},
    {RTE_ACL_FIELD_TYPE_MASK, 4, source, 1, 12},
    {RTE_ACL_FIELD_TYPE_MASK, 4, dest, 2, 16},
    {RTE_ACL_FIELD_TYPE_RANGE, 2, source_port, 3, 20},
    {RTE_ACL_FIELD_TYPE_RANGE, 2, dest_port, 3, 22},
}};

RTE_ACL_RULE_DEF(Rule, field_count);

Rule rule_for(std::uint32_t tap, Field side) {
    Rule rule{};
    rule.data = {.category_mask = 1, .priority = 1, .userdata = tap + 1};
    rule.field[side].value.u32 = tap_address(tap);
    rule.field[side].mask_range.u32 = 32;
    for (const Field ports : {source_port, dest_port}) {
        rule.field[ports].mask_range.u16 = 0xffff;
    }
    return rule;
}

struct FreeAcl {
    void operator()(rte_acl_ctx* context) const { rte_acl_free(context); }
};
using Acl = std::unique_ptr<rte_acl_ctx, FreeAcl>;

struct BuiltAcl {
    Acl acl;
    double build_ms = 0;
};

BuiltAcl build_acl(std::uint32_t taps, bool dest_only) {
    const rte_acl_param parameters{.name = "bench",
                                   .socket_id = SOCKET_ID_ANY,
                                   .rule_size = RTE_ACL_RULE_SZ(field_count),
                                   .max_rule_num = taps};
    Acl acl{rte_acl_create(&parameters)};
    if (!acl) {
        fail("rte_acl_create");
    }
    rte_acl_config config{};
    config.num_categories = 1;
    config.num_fields = field_count;
    std::ranges::copy(fields, config.defs);
    std::vector<Rule> rules;
    for (std::uint32_t tap = 0; tap < taps; ++tap) {
        rules.push_back(rule_for(tap, dest_only || tap % 2 == 1 ? dest : source));
    }
    const auto from = std::chrono::steady_clock::now();
    // A rule of any number of fields begins as this one does.
    if (rte_acl_add_rules(acl.get(), reinterpret_cast<const rte_acl_rule*>(rules.data()), taps) != 0 ||
        rte_acl_build(acl.get(), &config) != 0) {
        fail("rte_acl_build");
    }
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - from;
    return {std::move(acl), took.count()};
}

struct FreeHash {
    void operator()(rte_hash* hash) const { rte_hash_free(hash); }
};
using Hash = std::unique_ptr<rte_hash, FreeHash>;

std::pair<std::uint32_t, std::uint32_t> near_addresses(std::size_t i) {
    const auto number = static_cast<std::uint32_t>(i) * 2;
    return {neighbour_address(number), neighbour_address(number + 1)};
}

/// As frames have them.
void write_addresses(std::uint8_t* ipv4_header, std::uint32_t source, std::uint32_t dest) {
    const std::array<std::uint32_t, 2> words{std::byteswap(source), std::byteswap(dest)};
    std::memcpy(ipv4_header + 12, words.data(), sizeof words);
}

class Bench {
  public:
    explicit Bench(const Options& options) : options_(options), report_(options.json) {}

    void run() {
        for (const std::uint32_t taps : options_.taps) {
            if (taps > 0 && taps <= most_acl_rules) {
                run_acl(taps);
            }
            if (taps > 0) {
                run_hash(taps);
            }
        }
    }

  private:
    using Pointers = std::array<const std::uint8_t*, burst_size>;

    static std::vector<Pointers> pointers(const Bursts& bursts, std::uint32_t offset) {
        std::vector<Pointers> all(bursts.count());
        for (std::size_t i = 0; i < bursts.views.size(); ++i) {
            all[i / burst_size][i % burst_size] = bursts.views[i].data + offset;
        }
        return all;
    }

    void run_acl(std::uint32_t taps) {
        if (options_.wanted("acl-none") || options_.wanted("acl-near")) {
            const BuiltAcl built = build_acl(taps, false);
            run_acl("acl-none", built, taps, make_udp_bursts(16, far_addresses));
            run_acl("acl-near", built, taps, make_udp_bursts(16, near_addresses));
        }
        if (options_.wanted("acl-dest-near") || options_.wanted("acl-dest-spread")) {
            const BuiltAcl built = build_acl(taps, true);
            run_acl("acl-dest-near", built, taps, make_udp_bursts(16, near_addresses));
            run_acl_spread("acl-dest-spread", built, taps);
        }
    }

    /// Every algorithm that this processor has.
    template <typename Measure>
    void each_algorithm(const char* name, const BuiltAcl& built, std::uint32_t taps, Measure measure) {
        if (!options_.wanted(name)) {
            return;
        }
        for (const auto& [algorithm, simd] :
             {std::pair(RTE_ACL_CLASSIFY_AVX512X32, "avx512"), std::pair(RTE_ACL_CLASSIFY_AVX2, "avx2"),
              std::pair(RTE_ACL_CLASSIFY_SCALAR, "portable")}) {
            if (rte_acl_set_ctx_classify(built.acl.get(), algorithm) != 0) {
                continue;
            }
            report_.print(
                {.name = name, .simd = simd, .taps = taps, .cycles = measure(), .build_ms = built.build_ms});
        }
    }

    void run_acl(const char* name, const BuiltAcl& built, std::uint32_t taps, const Bursts& bursts) {
        std::vector<Pointers> headers = pointers(bursts, ipv4_offset);
        each_algorithm(name, built, taps, [&] {
            return cycles_a_frame(bursts.count(), [&](std::size_t i) { classify(built, headers[i]); });
        });
    }

    void run_acl_spread(const char* name, const BuiltAcl& built, std::uint32_t taps) {
        Bursts bursts = make_udp_bursts(1, near_addresses);
        std::vector<Pointers> headers = pointers(bursts, ipv4_offset);
        std::mt19937 random(5);
        each_algorithm(name, built, taps, [&] {
            return cycles_a_fresh_frame([&] { renew(bursts, random); }, [&] { classify(built, headers[0]); });
        });
    }

    static void renew(Bursts& bursts, std::mt19937& random) {
        for (std::size_t i = 0; i < burst_size; ++i) {
            write_addresses(bursts.data(i) + ipv4_offset, neighbour_address(random() & 0x0fff'ffffU),
                            neighbour_address(random() & 0x0fff'ffffU));
        }
    }

    static void classify(const BuiltAcl& built, Pointers& headers) {
        std::array<std::uint32_t, burst_size> results;
        rte_acl_classify(built.acl.get(), headers.data(), results.data(), burst_size, 1);
        if (std::ranges::any_of(results, [](std::uint32_t result) { return result != 0; })) {
            std::fprintf(stderr, "acl-bench: frames matched\n");
            std::exit(1);
        }
    }

    void run_hash(std::uint32_t taps) {
        if (!options_.wanted("hash-none") && !options_.wanted("hash-spread")) {
            return;
        }
        rte_hash_parameters parameters{};
        parameters.name = "bench";
        parameters.entries = std::max(taps, 8U);
        parameters.key_len = 4;
        parameters.hash_func = rte_hash_crc;
        parameters.socket_id = SOCKET_ID_ANY;
        // Without it two full buckets may refuse a key of the promised number.
        parameters.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
        const Hash hash{rte_hash_create(&parameters)};
        if (!hash) {
            fail("rte_hash_create");
        }
        const auto from = std::chrono::steady_clock::now();
        for (std::uint32_t tap = 0; tap < taps; ++tap) {
            const std::uint32_t key = std::byteswap(tap_address(tap));
            if (rte_hash_add_key(hash.get(), &key) < 0) {
                fail("rte_hash_add_key");
            }
        }
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - from;
        const auto print = [&](const char* name, double cycles) {
            report_.print(
                {.name = name, .simd = "-", .taps = taps, .cycles = cycles, .build_ms = took.count()});
        };
        if (options_.wanted("hash-none")) {
            const Bursts bursts = make_udp_bursts(16, far_addresses);
            const std::vector<Pointers> keys = pointers(bursts, ipv4_offset + 16);
            print("hash-none",
                  cycles_a_frame(bursts.count(), [&](std::size_t i) { look_up(*hash, keys[i]); }));
        }
        if (options_.wanted("hash-spread")) {
            Bursts bursts = make_udp_bursts(1, near_addresses);
            const std::vector<Pointers> keys = pointers(bursts, ipv4_offset + 16);
            std::mt19937 random(5);
            print("hash-spread",
                  cycles_a_fresh_frame([&] { renew(bursts, random); }, [&] { look_up(*hash, keys[0]); }));
        }
    }

    static void look_up(const rte_hash& hash, const Pointers& keys) {
        std::array<const void*, burst_size> pointers;
        std::ranges::copy(keys, pointers.begin());
        std::array<std::int32_t, burst_size> places;
        rte_hash_lookup_bulk(&hash, pointers.data(), burst_size, places.data());
        if (std::ranges::any_of(places, [](std::int32_t place) { return place >= 0; })) {
            std::fprintf(stderr, "acl-bench: keys found\n");
            std::exit(1);
        }
    }

    Options options_;
    Report report_;
};

/// Options come first, so that what EAL does with its own arguments is not seen.
void start_eal() {
    std::array<std::string, 9> arguments{"acl-bench",  "--no-huge",         "-m2048",
                                         "--no-pci",   "--no-shconf",       "--no-telemetry",
                                         "--lcores=0", "--log-level=error", "--force-max-simd-bitwidth=512"};
    std::array<char*, arguments.size()> list;
    std::ranges::transform(arguments, list.begin(), [](std::string& argument) { return argument.data(); });
    if (rte_eal_init(static_cast<int>(list.size()), list.data()) < 0) {
        fail("rte_eal_init");
    }
}

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    const flowtap::test::Options options =
        flowtap::test::read_options(argc, argv, {1'000, 10'000, 100'000, 1'000'000});
    flowtap::test::start_eal();
    flowtap::test::Bench(options).run();
    rte_eal_cleanup();
    return 0;
}
