#include "dataplane/match/prefilter.h"

#include <immintrin.h>

// Compiled with AVX-512: nothing here may call an inline function of another header, intrinsics apart.

namespace flowtap::dataplane::match {

std::uint64_t probe_avx512(const Filter& filter, const Probe& probe, std::uint32_t* hashes) noexcept {
    const auto all = [](std::uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); };
    const std::uint32_t mask_bits = filter.size == 1 ? 0 : ~0U >> __builtin_clz(filter.size - 1);
    const __m512i mask = all(mask_bits);
    const __m512i half_mask = all(mask_bits >> 1);
    const __m512i size = all(filter.size);
    const __m512i key_mask = all(probe.key_mask);
    const __m512i salt = all(probe.salt);
    const __m512i by_hash = all(mix_hash);
    const __m512i by_bucket = all(mix_bucket);
    const __m512i by_tag = all(mix_tag);
    const __m512i one = all(1);
    std::uint64_t hits = 0;
    for (std::uint32_t base = 0; base < probe.count; base += 16) {
        const __m512i key = _mm512_and_si512(_mm512_loadu_si512(probe.keys + base), key_mask);
        __m512i hash = _mm512_xor_si512(key, salt);
        hash = _mm512_mullo_epi32(hash, by_hash);
        hash = _mm512_xor_si512(hash, _mm512_srli_epi32(hash, 15));
        _mm512_storeu_si512(hashes + base, hash);

        __m512i bucket = _mm512_mullo_epi32(hash, by_bucket);
        bucket = _mm512_and_si512(_mm512_xor_si512(bucket, _mm512_srli_epi32(bucket, 16)), mask);
        const __mmask16 beyond = _mm512_cmpge_epu32_mask(bucket, size);
        bucket = _mm512_mask_and_epi32(bucket, beyond, bucket, half_mask);
        const __m512i tag = _mm512_mullo_epi32(hash, by_tag);
        const __m512i half = _mm512_and_si512(_mm512_srli_epi32(tag, 16), one);
        const __m512i place = _mm512_add_epi32(_mm512_add_epi32(bucket, bucket), half);
        const __m512i word = _mm512_i32gather_epi32(place, filter.words, 4);

        // A rotation takes its count modulo 32: no masking of the five bits.
        const auto bit = [&](unsigned shift) {
            return _mm512_rolv_epi32(one, _mm512_srli_epi32(tag, shift));
        };
        const __m512i bits =
            _mm512_or_si512(_mm512_or_si512(bit(17), bit(22)), _mm512_or_si512(bit(27), bit(19)));
        const __mmask16 hit = _mm512_cmpeq_epi32_mask(_mm512_and_si512(word, bits), bits);
        hits |= static_cast<std::uint64_t>(hit) << base;
    }
    return hits;
}

}  // namespace flowtap::dataplane::match
