#include "dataplane/match/prefilter.h"

#include <immintrin.h>

// Compiled with AVX2: nothing here may call an inline function of another header, intrinsics apart.

namespace flowtap::dataplane::match {

std::uint64_t probe_avx2(const Filter& filter, const Probe& probe, std::uint32_t* hashes) noexcept {
    const auto all = [](std::uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); };
    const std::uint32_t mask_bits = filter.size == 1 ? 0 : ~0U >> __builtin_clz(filter.size - 1);
    const __m256i mask = all(mask_bits);
    const __m256i half_mask = all(mask_bits >> 1);
    const __m256i size = all(filter.size);
    const __m256i key_mask = all(probe.key_mask);
    const __m256i salt = all(probe.salt);
    const __m256i by_hash = all(mix_hash);
    const __m256i by_bucket = all(mix_bucket);
    const __m256i by_tag = all(mix_tag);
    const __m256i one = all(1);
    const __m256i low5 = all(31);
    const auto* const words = static_cast<const int*>(static_cast<const void*>(filter.words));
    std::uint64_t hits = 0;
    for (std::uint32_t base = 0; base < probe.count; base += 8) {
        const auto* const from = static_cast<const __m256i*>(static_cast<const void*>(probe.keys + base));
        __m256i hash = _mm256_xor_si256(_mm256_and_si256(_mm256_loadu_si256(from), key_mask), salt);
        hash = _mm256_mullo_epi32(hash, by_hash);
        hash = _mm256_xor_si256(hash, _mm256_srli_epi32(hash, 15));
        _mm256_storeu_si256(static_cast<__m256i*>(static_cast<void*>(hashes + base)), hash);

        __m256i bucket = _mm256_mullo_epi32(hash, by_bucket);
        bucket = _mm256_and_si256(_mm256_xor_si256(bucket, _mm256_srli_epi32(bucket, 16)), mask);
        const __m256i beyond = _mm256_cmpeq_epi32(_mm256_max_epu32(bucket, size), bucket);
        bucket = _mm256_blendv_epi8(bucket, _mm256_and_si256(bucket, half_mask), beyond);
        const __m256i tag = _mm256_mullo_epi32(hash, by_tag);
        const __m256i half = _mm256_and_si256(_mm256_srli_epi32(tag, 16), one);
        const __m256i place = _mm256_add_epi32(_mm256_add_epi32(bucket, bucket), half);
        const __m256i word = _mm256_i32gather_epi32(words, place, 4);

        const auto bit = [&](int shift) {
            const __m256i shifted = _mm256_srl_epi32(tag, _mm_cvtsi32_si128(shift));
            return _mm256_sllv_epi32(one, _mm256_and_si256(shifted, low5));
        };
        const __m256i bits =
            _mm256_or_si256(_mm256_or_si256(bit(17), bit(22)), _mm256_or_si256(bit(27), bit(19)));
        const __m256i hit = _mm256_cmpeq_epi32(_mm256_and_si256(word, bits), bits);
        const auto lanes = static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(hit)));
        hits |= static_cast<std::uint64_t>(lanes) << base;
    }
    return hits;
}

}  // namespace flowtap::dataplane::match
