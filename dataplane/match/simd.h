// Which instructions the prefilter and the parser use. Every variant gives the same answers; they differ in
// speed only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace flowtap::dataplane::match {

enum class Simd : std::uint8_t { portable, avx2, avx512 };

/// Whether this processor (and its operating system) can run the variant.
bool supported(Simd simd);

/// The widest supported variant.
Simd best_simd();

/// "portable", "avx2", "avx512".
std::string_view to_string(Simd simd);
std::optional<Simd> parse_simd(std::string_view text);

}  // namespace flowtap::dataplane::match
