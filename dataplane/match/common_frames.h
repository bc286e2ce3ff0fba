// The frames that most links carry most of, told from the others a vector at a time: untagged IPv4 without
// options, no fragment, the lengths right, and four bytes of payload in the first buffer, where ports are if
// the protocol has any. The verdict of such a frame is `ok` whatever its other fields say, so that its
// addresses are all that has to be known of it before somebody asks (LazyHeaders).
//
// The variants are compiled with their own instruction sets, and share no inline function with the rest of
// the program (prefilter.h says why).
//
// Thread safety: pure functions.
#pragma once

#include "dataplane/match/frame.h"
#include "dataplane/match/simd.h"

#include <cstddef>
#include <cstdint>

namespace flowtap::dataplane::match {

/// Frames that a variant looks at together, at most.
inline constexpr std::size_t common_group = 16;

/// As much of a frame as decides.
inline constexpr std::uint32_t common_bytes = 38;
/// The least total length.
inline constexpr std::uint32_t common_total = 24;

/// Where they are written to, each with room for the number of frames rounded up to common_group; what is not
/// of a common frame may be anything.
struct CommonFields {
    std::uint32_t* source4 = nullptr;  ///< host byte order
    std::uint32_t* dest4 = nullptr;    ///< likewise
    Frame* frames = nullptr;           ///< a copy of each
};

/// Bit i: frame i of `count`, at most 64, is a common one. No byte beyond Frame::readable is read.
using CommonFunction = std::uint64_t (*)(const Frame* frames, std::uint32_t count,
                                         const CommonFields& to) noexcept;

std::uint64_t common_portable(const Frame* frames, std::uint32_t count, const CommonFields& to) noexcept;
std::uint64_t common_avx2(const Frame* frames, std::uint32_t count, const CommonFields& to) noexcept;
std::uint64_t common_avx512(const Frame* frames, std::uint32_t count, const CommonFields& to) noexcept;

/// A variant that this processor cannot run is replaced by the widest that it can.
CommonFunction common_function(Simd simd);

/// Copies the first `count` frames to `group`, and to what is left of it, and for each that is shorter than
/// common_bytes, a frame of zeros: the vectors need not tell them apart.
void pad_group(const Frame* frames, std::uint32_t count, Frame* group) noexcept;

}  // namespace flowtap::dataplane::match
