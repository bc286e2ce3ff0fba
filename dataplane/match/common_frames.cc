#include "dataplane/match/common_frames.h"

#include <array>

namespace flowtap::dataplane::match {

CommonFunction common_function(Simd simd) {
    switch (supported(simd) ? simd : best_simd()) {
        case Simd::portable:
            return common_portable;
        case Simd::avx2:
            return common_avx2;
        case Simd::avx512:
            return common_avx512;
    }
    return common_portable;
}

void pad_group(const Frame* frames, std::uint32_t count, Frame* group) noexcept {
    static constexpr std::array<std::uint8_t, common_bytes> zeros{};
    for (std::uint32_t i = 0; i < common_group; ++i) {
        const bool is_long = i < count && frames[i].readable >= common_bytes;
        group[i] = is_long ? frames[i]
                           : Frame{.data = zeros.data(), .readable = common_bytes, .length = common_bytes};
    }
}

}  // namespace flowtap::dataplane::match
