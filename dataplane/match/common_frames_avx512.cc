#include "dataplane/match/common_frames.h"

#include <immintrin.h>

// Compiled with AVX-512: nothing here may call an inline function of another header, intrinsics apart.

namespace flowtap::dataplane::match {
namespace {

inline __m256i middle(const Frame& frame) {
    const void* const bytes = frame.data + 6;
    return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}

// Of bytes 6 to 21 of each frame: ethertype and version, total length and fragment word; of bytes 22 to 37:
// the addresses. What is compared as a number is turned round.
inline __m512i fields(const Frame& low, const Frame& high) {
    const __m512i order = _mm512_broadcast_i64x4(
        _mm256_setr_epi8(6, 7, 8, -1, 11, 10, 15, 14, -1, -1, -1, -1, -1, -1, -1, -1,  //
                         7, 6, 5, 4, 11, 10, 9, 8, -1, -1, -1, -1, -1, -1, -1, -1));
    return _mm512_shuffle_epi8(_mm512_inserti64x4(_mm512_castsi256_si512(middle(low)), middle(high), 1),
                               order);
}

// Eight frames, four in a quarter: ethertype and version, sources; lengths and fragments, destinations.
struct Eight {
    __m512i first;
    __m512i second;
};

inline Eight eight(const Frame* frames) {
    const __m512i low = _mm512_unpacklo_epi32(fields(frames[0], frames[4]), fields(frames[1], frames[5]));
    const __m512i high = _mm512_unpacklo_epi32(fields(frames[2], frames[6]), fields(frames[3], frames[7]));
    return {_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high)};
}

}  // namespace

std::uint64_t common_avx512(const Frame* frames, std::uint32_t count, const CommonFields& to) noexcept {
    const auto all = [](std::uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); };
    // Of four frames in each of two vectors: all that is readable, then all lengths.
    const __m512i ends = _mm512_setr_epi32(2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31);
    alignas(64) Frame padded[common_group];
    std::uint64_t common = 0;
    for (std::uint32_t base = 0; base < count; base += common_group) {
        const Frame* group = frames + base;
        if (count - base < common_group) [[unlikely]] {
            pad_group(group, count - base, padded);
            group = padded;
        }
        __m512i views[4];
        for (std::uint32_t i = 0; i < 4; ++i) {
            views[i] = _mm512_loadu_si512(group + 4 * i);
            _mm512_storeu_si512(to.frames + base + 4 * i, views[i]);
        }
        const __m512i low = _mm512_permutex2var_epi32(views[0], ends, views[1]);
        const __m512i high = _mm512_permutex2var_epi32(views[2], ends, views[3]);
        const __m512i readable = _mm512_shuffle_i64x2(low, high, 0x44);
        const __m512i length = _mm512_shuffle_i64x2(low, high, 0xee);
        const __mmask16 whole = _mm512_cmpge_epu32_mask(readable, all(common_bytes));
        if (whole != 0xffff) [[unlikely]] {
            pad_group(group, common_group, padded);
            group = padded;
        }
        const Eight begin = eight(group);
        const Eight end = eight(group + 8);
        const __m512i kind = _mm512_shuffle_i64x2(begin.first, end.first, 0x88);
        const __m512i lengths = _mm512_shuffle_i64x2(begin.second, end.second, 0x88);
        _mm512_storeu_si512(to.source4 + base, _mm512_shuffle_i64x2(begin.first, end.first, 0xdd));
        _mm512_storeu_si512(to.dest4 + base, _mm512_shuffle_i64x2(begin.second, end.second, 0xdd));

        const __m512i total = _mm512_and_si512(lengths, all(0xffff));
        const __mmask16 is_right = _mm512_mask_testn_epi32_mask(
            _mm512_mask_cmpeq_epi32_mask(whole, kind, all(0x45'0008)), lengths, all(0x3fff'0000));
        const __mmask16 is_common =
            _mm512_mask_cmpge_epu32_mask(_mm512_mask_cmpge_epu32_mask(is_right, total, all(common_total)),
                                         length, _mm512_add_epi32(total, all(14)));
        common |= static_cast<std::uint64_t>(is_common) << base;
    }
    return common;
}

}  // namespace flowtap::dataplane::match
