#include "dataplane/match/prefilter.h"

namespace flowtap::dataplane::match {

ProbeFunction probe_function(Simd& simd) {
    if (!supported(simd)) {
        simd = best_simd();
    }
    switch (simd) {
        case Simd::portable:
            return probe_portable;
        case Simd::avx2:
            return probe_avx2;
        case Simd::avx512:
            return probe_avx512;
    }
    return probe_portable;
}

}  // namespace flowtap::dataplane::match
