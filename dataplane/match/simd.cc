#include "dataplane/match/simd.h"

namespace flowtap::dataplane::match {

bool supported(Simd simd) {
    switch (simd) {
        case Simd::portable:
            return true;
        case Simd::avx2:
            return __builtin_cpu_supports("avx2") != 0;
        case Simd::avx512:
            return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                   __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
    }
    return false;
}

Simd best_simd() {
    if (supported(Simd::avx512)) {
        return Simd::avx512;
    }
    return supported(Simd::avx2) ? Simd::avx2 : Simd::portable;
}

std::string_view to_string(Simd simd) {
    switch (simd) {
        case Simd::portable:
            return "portable";
        case Simd::avx2:
            return "avx2";
        case Simd::avx512:
            return "avx512";
    }
    return "unknown";
}

std::optional<Simd> parse_simd(std::string_view text) {
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (text == to_string(simd)) {
            return simd;
        }
    }
    return std::nullopt;
}

}  // namespace flowtap::dataplane::match
