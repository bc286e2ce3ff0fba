#include "dataplane/match/prefilter.h"

#include <catch2/catch.hpp>

#include <array>
#include <bit>
#include <random>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

class Random {
  public:
    explicit Random(unsigned seed) : engine_(seed) {}
    std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

  private:
    std::mt19937 engine_;
};

struct Variant {
    Simd simd;
    ProbeFunction probe;
};

std::vector<Variant> variants() {
    std::vector<Variant> list;
    for (Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (!supported(simd)) {
            WARN("this processor has no " << to_string(simd));
            continue;
        }
        const ProbeFunction probe = probe_function(simd);
        list.push_back({simd, probe});
    }
    return list;
}

TEST_CASE("every variant says of every key what its word says", "[prefilter]") {
    Random random(1);
    for (int i = 0; i < 2'000; ++i) {
        const std::uint32_t size = i < 40 ? static_cast<std::uint32_t>(i) + 1 : random() % 5000 + 1;
        std::vector<std::uint32_t> words(2 * size);
        for (std::uint32_t& word : words) {
            word = random() | random();
        }
        alignas(64) std::array<std::uint32_t, 64> keys{};
        for (std::uint32_t& key : keys) {
            key = random();
        }
        const Probe probe{.keys = keys.data(),
                          .count = random() % 65,
                          .key_mask = ~std::uint32_t{0} << random() % 25,
                          .salt = random()};
        std::uint64_t expected = 0;
        std::array<std::uint32_t, 64> hashes{};
        for (std::uint32_t k = 0; k < probe.count; ++k) {
            hashes[k] = mix((keys[k] & probe.key_mask) ^ probe.salt);
            const std::uint16_t tag = tag_of(hashes[k]);
            const std::uint32_t bucket = bucket_of(hashes[k], size, std::bit_ceil(size) - 1);
            const std::uint32_t word = words.at(2 * bucket + (tag & 1));
            expected |= std::uint64_t{(word & filter_bits(tag)) == filter_bits(tag)} << k;
        }
        const std::uint64_t asked =
            probe.count == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << probe.count) - 1;
        for (const Variant& variant : variants()) {
            CAPTURE(to_string(variant.simd), size, probe.count);
            std::array<std::uint32_t, 64> found{};
            REQUIRE((variant.probe({words.data(), size}, probe, found.data()) & asked) == expected);
            for (std::uint32_t k = 0; k < probe.count; ++k) {
                REQUIRE(found[k] == hashes[k]);
            }
        }
    }
}

TEST_CASE("a hash has one bucket below the size, which only a split of it changes", "[prefilter]") {
    Random random(2);
    for (std::uint32_t size = 1; size < 300; ++size) {
        for (int i = 0; i < 200; ++i) {
            const std::uint32_t hash = random();
            const std::uint32_t before = bucket_of(hash, size, std::bit_ceil(size) - 1);
            const std::uint32_t after = bucket_of(hash, size + 1, std::bit_ceil(size + 1) - 1);
            REQUIRE(before < size);
            REQUIRE((after == before || (after == size && before == size - std::bit_floor(size))));
        }
    }
}

TEST_CASE("a variant is named, parsed and replaced where the processor has it not", "[prefilter]") {
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        CHECK(parse_simd(to_string(simd)) == simd);
    }
    CHECK_FALSE(parse_simd("AVX512"));
    CHECK_FALSE(parse_simd(""));
    CHECK(supported(best_simd()));
    Simd portable = Simd::portable;
    CHECK(probe_function(portable) == probe_portable);
    CHECK(portable == Simd::portable);
}

}  // namespace
}  // namespace flowtap::test
