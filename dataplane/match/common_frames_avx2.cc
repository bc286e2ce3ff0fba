#include "dataplane/match/common_frames.h"

#include <immintrin.h>

// Compiled with AVX2: nothing here may call an inline function of another header, intrinsics apart.

namespace flowtap::dataplane::match {
namespace {

// Of bytes 6 to 21: ethertype and version, total length and fragment word; of bytes 22 to 37: the addresses.
// What is compared as a number is turned round.
inline __m256i fields(const Frame& frame) {
    const __m256i order = _mm256_setr_epi8(6, 7, 8, -1, 11, 10, 15, 14, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                           7, 6, 5, 4, 11, 10, 9, 8, -1, -1, -1, -1, -1, -1, -1, -1);
    const void* const bytes = frame.data + 6;
    return _mm256_shuffle_epi8(_mm256_loadu_si256(static_cast<const __m256i*>(bytes)), order);
}

// Four frames: in each half one field of all, in another one its second.
struct Four {
    __m256i first;
    __m256i second;
};

inline Four four(const Frame* frames) {
    const __m256i low = _mm256_unpacklo_epi32(fields(frames[0]), fields(frames[1]));
    const __m256i high = _mm256_unpacklo_epi32(fields(frames[2]), fields(frames[3]));
    return {_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high)};
}

template <int selection>
inline __m256i shuffle(__m256i low, __m256i high) {
    return _mm256_castps_si256(
        _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), selection));
}

inline __m256i not_below(__m256i value, __m256i bound) {
    return _mm256_cmpeq_epi32(_mm256_max_epu32(value, bound), value);
}

}  // namespace

std::uint64_t common_avx2(const Frame* frames, std::uint32_t count, const CommonFields& to) noexcept {
    const auto all = [](std::uint32_t value) { return _mm256_set1_epi32(static_cast<int>(value)); };
    const auto store = [](void* place, __m256i value) {
        _mm256_storeu_si256(static_cast<__m256i*>(place), value);
    };
    constexpr std::uint32_t step = 8;
    alignas(32) Frame padded[common_group];
    std::uint64_t common = 0;
    for (std::uint32_t base = 0; base < count; base += step) {
        const Frame* group = frames + base;
        if (count - base < step) [[unlikely]] {
            pad_group(group, count - base, padded);
            group = padded;
        }
        __m256i views[step / 2];
        for (std::uint32_t i = 0; i < step / 2; ++i) {
            views[i] =
                _mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(group + 2 * i)));
            store(to.frames + base + 2 * i, views[i]);
        }
        const __m256i low = shuffle<0xee>(views[0], views[1]);
        const __m256i high = shuffle<0xee>(views[2], views[3]);
        const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        const __m256i readable = _mm256_permutevar8x32_epi32(shuffle<0x88>(low, high), in_order);
        const __m256i length = _mm256_permutevar8x32_epi32(shuffle<0xdd>(low, high), in_order);
        const __m256i whole = not_below(readable, all(common_bytes));
        if (_mm256_movemask_epi8(whole) != -1) [[unlikely]] {
            pad_group(group, step, padded);
            group = padded;
        }
        const Four begin = four(group);
        const Four end = four(group + 4);
        const __m256i kind = _mm256_permute2x128_si256(begin.first, end.first, 0x20);
        const __m256i source = _mm256_permute2x128_si256(begin.first, end.first, 0x31);
        const __m256i lengths = _mm256_permute2x128_si256(begin.second, end.second, 0x20);
        const __m256i dest = _mm256_permute2x128_si256(begin.second, end.second, 0x31);
        store(to.source4 + base, source);
        store(to.dest4 + base, dest);

        const __m256i total = _mm256_and_si256(lengths, all(0xffff));
        const __m256i fragment = _mm256_and_si256(lengths, all(0x3fff'0000));
        const __m256i is_right = _mm256_and_si256(_mm256_cmpeq_epi32(kind, all(0x45'0008)),
                                                  _mm256_cmpeq_epi32(fragment, _mm256_setzero_si256()));
        const __m256i fits = _mm256_and_si256(not_below(total, all(common_total)),
                                              not_below(length, _mm256_add_epi32(total, all(14))));
        const __m256i is_common = _mm256_and_si256(_mm256_and_si256(is_right, fits), whole);
        const auto lanes = static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(is_common)));
        common |= static_cast<std::uint64_t>(lanes) << base;
    }
    return common;
}

}  // namespace flowtap::dataplane::match
