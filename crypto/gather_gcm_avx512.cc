#include "crypto/gather_gcm.h"

#include <immintrin.h>

// Compiled with AVX-512: nothing here may call an inline function of another header, intrinsics apart.
//
// A packet is taken for a stream of 16-byte blocks, four in a vector: the AAD, then the text's. The counter
// block that the tag is made with is the first (NIST SP 800-38D section 7.1), and stands where the AAD does,
// so that counter blocks and hashed blocks go side by side. The block of lengths, which is hashed last, is
// multiplied apart: it depends on no text.
//
// GHASH: blocks are turned round and the hash key's powers are shifted by one bit, so that a carry-less
// product needs no shift. Products of up to 36 blocks are added up before they are reduced.
//
// All state is in local variables of functions that are inlined into one: in memory, every store of text
// would have the compiler store and load it.

namespace flowtap::crypto {
namespace {

constexpr std::int64_t block_size = 16;
constexpr std::int64_t vector_size = 64;
constexpr std::size_t lanes = 4;  // blocks in a vector
/// Vectors that are encrypted while those before them are hashed: as many as keep the rounds' latency busy.
constexpr std::size_t group = 8;
constexpr auto group_blocks = static_cast<std::int64_t>(lanes * group);
constexpr auto group_size = static_cast<std::int64_t>(vector_size * group);
/// Vectors that go without a group: fewer bytes of body than one has, the AAD's block, the trailer.
constexpr std::size_t largest_rest = 9;
static_assert(GatherKeys::powers_count >= lanes * largest_rest + 1);
static_assert((GatherKeys::powers_count - lanes * group) % lanes == 0, "a group's powers lie in four lines");

constexpr std::int64_t bytes_of(std::size_t vectors) {
    return vector_size * static_cast<std::int64_t>(vectors);
}

inline __m512i all_lanes(std::uint64_t high, std::uint64_t low) {
    return _mm512_broadcast_i32x4(_mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low)));
}

inline __m512i xor3(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

inline __m512i turned_round(__m512i blocks) {
    return _mm512_shuffle_epi8(blocks, all_lanes(0x0001'0203'0405'0607, 0x0809'0a0b'0c0d'0e0f));
}

/// Bits [0, n).
inline __mmask64 below(std::int64_t n) {
    const std::int64_t least = n < 0 ? 0 : n;
    return _bzhi_u64(~std::uint64_t{0}, static_cast<unsigned>(least < vector_size ? least : vector_size));
}

/// May lie outside of what is there: where a load's mask is 0, nothing is read.
inline const void* at(const void* bytes, std::int64_t offset) {
    return reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(bytes) +
                                         static_cast<std::uintptr_t>(offset));
}
inline void* at(void* bytes, std::int64_t offset) {
    return static_cast<std::uint8_t*>(bytes) + offset;
}

/// Of the hash key, and behind it the next lower ones.
inline const void* power(const GatherKeys& keys, std::int64_t exponent) {
    return at(&keys.powers, block_size * (static_cast<std::int64_t>(GatherKeys::powers_count) - exponent));
}

/// Read anew for every few vectors: there are too many for the registers, and none is to get on the stack.
inline __m512i round_key(const GatherKeys& keys, std::uint32_t number) {
    return _mm512_load_si512(at(&keys.rounds, vector_size * number));
}

/// The sum of products, each 256 bits wide in three parts.
struct Products {
    __m512i low = _mm512_setzero_si512();
    __m512i middle = _mm512_setzero_si512();
    __m512i high = _mm512_setzero_si512();

    void add(__m512i blocks, __m512i powers) {
        low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(blocks, powers, 0x00));
        middle = xor3(middle, _mm512_clmulepi64_epi128(blocks, powers, 0x01),
                      _mm512_clmulepi64_epi128(blocks, powers, 0x10));
        high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(blocks, powers, 0x11));
    }
    void add(__m512i blocks, const void* powers) { add(blocks, _mm512_loadu_si512(powers)); }

    /// All lanes' sum modulo x^128 + x^7 + x^2 + x + 1.
    __m128i reduced() const {
        const __m512i polynomial = all_lanes(0xc200'0000'0000'0000, 1);
        const auto fold = [&](__m512i to, __m512i from) {
            return xor3(to, _mm512_shuffle_epi32(from, _MM_PERM_BADC),
                        _mm512_clmulepi64_epi128(from, polynomial, 0x10));
        };
        const __m512i sum = fold(high, fold(middle, low));
        const __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
        return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    }
};

struct State {
    __m512i counter;  ///< of the next vector; the counter itself in host byte order
    Products sum;
    __m128i tag_stream;  ///< what the hash is covered with
};

/// Key stream for the next vectors. between(r) is called between the rounds: for what has time meanwhile.
template <std::uint32_t rounds, std::size_t count, typename Between>
[[gnu::always_inline]] inline void next_stream(const GatherKeys& keys, __m512i& counter,
                                               __m512i (&stream)[count], Between between) {
    const __m512i order = all_lanes(0x0c0d'0e0f'0b0a'0908, 0x0706'0504'0302'0100);
    const __m512i four = all_lanes(std::uint64_t{4} << 32, 0);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < count; ++i) {
        stream[i] = _mm512_xor_si512(_mm512_shuffle_epi8(counter, order), round_key(keys, 0));
        counter = _mm512_add_epi32(counter, four);
    }
#pragma GCC unroll 16
    for (std::uint32_t r = 1; r < rounds; ++r) {
        const __m512i key = round_key(keys, r);
#pragma GCC unroll 16
        for (std::size_t i = 0; i < count; ++i) {
            stream[i] = _mm512_aesenc_epi128(stream[i], key);
        }
        between(r - 1);
    }
    const __m512i key = round_key(keys, rounds);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < count; ++i) {
        stream[i] = _mm512_aesenclast_epi128(stream[i], key);
    }
}

/// Covers the vector at `offset` of the text, all of which is body; returns it as it is hashed.
[[gnu::always_inline]] inline __m512i cover(const GatherText& text, std::int64_t offset, __m512i stream) {
    const __m512i covered = _mm512_xor_si512(_mm512_loadu_si512(at(text.body, offset - text.head)), stream);
    _mm512_storeu_si512(text.text + offset, covered);
    return turned_round(covered);
}

/// The same of any vector. The first one begins a block before the text, with the AAD.
template <bool first>
[[gnu::always_inline]] inline __m512i cover_edge(const GatherText& text, std::int64_t offset,
                                                 __m512i stream) {
    std::uint8_t* const place = text.text + offset;
    const std::int64_t head = text.head - offset;
    const std::int64_t length = text.length - offset;
    const __mmask64 own = below(text.size - offset) & (first ? ~below(block_size) : ~__mmask64{0});
    __m512i covered = _mm512_maskz_loadu_epi8(below(head) & own, place);
    covered = _mm512_mask_loadu_epi8(covered, below(length) & ~below(head), at(text.body, -head));
    if (length < vector_size) {
        covered = _mm512_mask_loadu_epi8(covered, own & ~below(length), at(text.trailer, -length));
    }
    covered = _mm512_maskz_mov_epi8(own, _mm512_xor_si512(covered, stream));
    _mm512_mask_storeu_epi8(place, own, covered);
    if (first) {
        const __m128i aad =
            _mm_set_epi64x(static_cast<long long>(text.aad_high), static_cast<long long>(text.aad_low));
        covered = _mm512_inserti32x4(covered, aad, 0);
    }
    return turned_round(covered);
}

/// The last vectors: the body ends in one of the last two. `first`: they are the first too.
template <std::uint32_t rounds, bool first, std::size_t count>
[[gnu::always_inline]] inline void encrypt(const GatherKeys& keys, const GatherText& text, State& state,
                                           std::int64_t offset, const void* powers) {
    __m512i stream[count];
    next_stream<rounds>(keys, state.counter, stream, [](std::size_t) {});
    if constexpr (first) {
        state.tag_stream = _mm512_castsi512_si128(stream[0]);
        state.sum.add(cover_edge<true>(text, offset, stream[0]), powers);
    }
    constexpr std::size_t heads = first ? 2 : 0;  // vectors that the head may reach into
#pragma GCC unroll 16
    for (std::size_t i = first ? 1 : 0; i < count; ++i) {
        const std::int64_t ahead = bytes_of(i);
        const bool edge = i < heads || i + 2 >= count;
        state.sum.add(edge ? cover_edge<false>(text, offset + ahead, stream[i])
                           : cover(text, offset + ahead, stream[i]),
                      at(powers, ahead));
    }
}

/// As many vectors as `blocks` make, from `count` to `most`.
template <std::uint32_t rounds, bool first, std::size_t most, std::size_t count = 1>
[[gnu::always_inline]] inline void encrypt_rest(const GatherKeys& keys, const GatherText& text, State& state,
                                                std::int64_t offset, std::int64_t blocks) {
    if constexpr (count < most) {
        if (blocks > static_cast<std::int64_t>(lanes * count)) {
            return encrypt_rest<rounds, first, most, count + 1>(keys, text, state, offset, blocks);
        }
    }
    encrypt<rounds, first, count>(keys, text, state, offset, power(keys, blocks + 1));
}

/// A group, which is hashed by the next call, as this one hashes the one `before` it.
template <std::uint32_t rounds, bool first>
[[gnu::always_inline]] inline void encrypt_group(const GatherKeys& keys, const GatherText& text, State& state,
                                                 std::int64_t offset, __m512i (&before)[group]) {
    __m512i stream[group];
    next_stream<rounds>(keys, state.counter, stream, [&](std::size_t i) {
        if (!first && i < group) {
            state.sum.add(before[i], at(power(keys, group_blocks), bytes_of(i)));
        }
    });
    if constexpr (first) {
        state.tag_stream = _mm512_castsi512_si128(stream[0]);
        before[0] = cover_edge<true>(text, offset, stream[0]);
        before[1] = cover_edge<false>(text, offset + vector_size, stream[1]);
    }
#pragma GCC unroll 16
    for (std::size_t i = first ? 2 : 0; i < group; ++i) {
        before[i] = cover(text, offset + bytes_of(i), stream[i]);
    }
}

/// A text of more than four vectors. Out of the way of the short ones.
template <std::uint32_t rounds>
[[gnu::noinline]] void encrypt_long(const GatherKeys& keys, const GatherText& given, State& result,
                                    std::int64_t blocks) {
    const GatherText text = given;
    State state = result;
    std::int64_t offset = -block_size;
    const auto holds_group = [&] { return offset + group_size <= text.length; };
    if (!holds_group()) {
        encrypt_rest<rounds, true, largest_rest, 5>(keys, text, state, offset, blocks);
    } else {
        state.sum = {};
        __m512i turned[group];
        encrypt_group<rounds, true>(keys, text, state, offset, turned);
        while (offset += group_size, blocks -= group_blocks, holds_group()) {
            encrypt_group<rounds, false>(keys, text, state, offset, turned);
            turned[0] = _mm512_xor_si512(turned[0], _mm512_zextsi128_si512(state.sum.reduced()));
            state.sum = {};
        }
#pragma GCC unroll 16
        for (std::size_t i = 0; i < group; ++i) {
            state.sum.add(turned[i], at(power(keys, group_blocks), bytes_of(i)));
        }
        const __m512i hash = _mm512_zextsi128_si512(state.sum.reduced());
        state.sum = result.sum;
        state.sum.add(hash, power(keys, blocks + 1));
        encrypt_rest<rounds, false, largest_rest>(keys, text, state, offset, blocks);
    }
    result.sum = state.sum;
    result.tag_stream = state.tag_stream;
}

template <std::uint32_t rounds>
[[gnu::always_inline]] inline void seal(const GatherKeys& keys, const GatherTerms& terms,
                                        const GatherText& text) {
    const std::int64_t blocks = 1 + (text.size + block_size - 1) / block_size;
    const __m128i lengths = _mm_set_epi64x(static_cast<long long>(std::uint64_t{terms.aad_size} * 8),
                                           static_cast<long long>(std::uint64_t{text.size} * 8));
    const __m128i first_power = _mm_load_si128(static_cast<const __m128i*>(power(keys, 1)));
    State state;
    state.sum.add(_mm512_zextsi128_si512(lengths), _mm512_zextsi128_si512(first_power));
    state.counter = _mm512_add_epi32(all_lanes(text.iv >> 32, terms.salt | text.iv << 32),
                                     _mm512_set_epi32(4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0));
    if (blocks <= static_cast<std::int64_t>(4 * lanes)) {
        encrypt_rest<rounds, true, 4>(keys, text, state, -block_size, blocks);
    } else {
        State apart = state;  // else the state of short ones would be in memory too
        encrypt_long<rounds>(keys, text, apart, blocks);
        state.sum = apart.sum;
        state.tag_stream = apart.tag_stream;
    }
    const __m512i hash = turned_round(_mm512_castsi128_si512(state.sum.reduced()));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(text.text + text.size),
                     _mm_xor_si128(_mm512_castsi512_si128(hash), state.tag_stream));
}

template <std::uint32_t rounds>
void seal_all(const GatherKeys& keys, const GatherTerms& terms, const GatherText* text, std::size_t count) {
    for (const GatherText* const end = text + count; text != end; ++text) {
        seal<rounds>(keys, terms, *text);
    }
}

/// What the functions above have left of key stream and hash in the registers and on the stack, where round
/// keys never get. To be called from where they were called.
[[gnu::noinline]] void clear_traces() {
    alignas(vector_size) std::uint8_t used[2048];  // twice as much as they use, NOLINT(*-avoid-c-arrays)
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(sizeof used); i += vector_size) {
        _mm512_store_si512(at(used, i), _mm512_setzero_si512());
    }
    asm volatile(
        "vzeroall\n"
        "vpxorq %%xmm16, %%xmm16, %%xmm16\n vpxorq %%xmm17, %%xmm17, %%xmm17\n"
        "vpxorq %%xmm18, %%xmm18, %%xmm18\n vpxorq %%xmm19, %%xmm19, %%xmm19\n"
        "vpxorq %%xmm20, %%xmm20, %%xmm20\n vpxorq %%xmm21, %%xmm21, %%xmm21\n"
        "vpxorq %%xmm22, %%xmm22, %%xmm22\n vpxorq %%xmm23, %%xmm23, %%xmm23\n"
        "vpxorq %%xmm24, %%xmm24, %%xmm24\n vpxorq %%xmm25, %%xmm25, %%xmm25\n"
        "vpxorq %%xmm26, %%xmm26, %%xmm26\n vpxorq %%xmm27, %%xmm27, %%xmm27\n"
        "vpxorq %%xmm28, %%xmm28, %%xmm28\n vpxorq %%xmm29, %%xmm29, %%xmm29\n"
        "vpxorq %%xmm30, %%xmm30, %%xmm30\n vpxorq %%xmm31, %%xmm31, %%xmm31\n" ::"r"(used)
        : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21",
          "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
}

}  // namespace

void gather_gcm(const GatherKeys& keys, const GatherTerms& terms, const GatherText* texts,
                std::size_t count) noexcept {
    if (keys.round_count == 14) {
        seal_all<14>(keys, terms, texts, count);
    } else {
        seal_all<10>(keys, terms, texts, count);
    }
    clear_traces();
}

void expand_gather_keys(const std::uint8_t* schedule, std::uint32_t round_count, GatherKeys& keys) noexcept {
    for (std::uint32_t r = 0; r <= round_count; ++r) {
        const auto* const key = reinterpret_cast<const __m128i*>(schedule + block_size * r);
        _mm512_store_si512(at(&keys.rounds, vector_size * r), _mm512_broadcast_i32x4(_mm_loadu_si128(key)));
    }
    keys.round_count = round_count;

    // The hash key: zeros, encrypted (NIST SP 800-38D section 7.1).
    __m512i zeros = round_key(keys, 0);
    for (std::uint32_t r = 1; r < round_count; ++r) {
        zeros = _mm512_aesenc_epi128(zeros, round_key(keys, r));
    }
    const __m128i hash_key =
        _mm512_castsi512_si128(turned_round(_mm512_aesenclast_epi128(zeros, round_key(keys, round_count))));

    // Shifted by one bit, modulo the polynomial.
    const auto low = static_cast<std::uint64_t>(_mm_extract_epi64(hash_key, 0));
    const auto high = static_cast<std::uint64_t>(_mm_extract_epi64(hash_key, 1));
    const std::uint64_t carried = 0 - (high >> 63);
    const __m128i first =
        _mm_set_epi64x(static_cast<long long>((high << 1 | low >> 63) ^ (carried & 0xc200'0000'0000'0000)),
                       static_cast<long long>(low << 1 ^ (carried & 1)));
    __m128i next = first;
    for (std::int64_t i = GatherKeys::powers_count; i-- > 0;) {
        _mm_store_si128(static_cast<__m128i*>(at(&keys.powers, block_size * i)), next);
        Products product;
        product.add(_mm512_zextsi128_si512(next), _mm512_zextsi128_si512(first));
        next = product.reduced();
    }
    clear_traces();
}

}  // namespace flowtap::crypto
