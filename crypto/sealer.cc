#include "crypto/sealer.h"

#include "crypto/big_endian.h"
#include "crypto/cipher_jobs.h"
#include "crypto/gather_gcm.h"
#include "crypto/ipsec_mb.h"
#include "crypto/key_tables.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

namespace flowtap::crypto {
namespace {

/// The inner packet's part in the outer one.
struct Inner {
    NextHeader version = NextHeader::none;  ///< none: not an IP packet
    std::uint8_t ds = 0;                    ///< DS field and ECN
    std::uint32_t header = 0;               ///< bytes of its fixed header
};

[[gnu::always_inline]] inline Inner inspect(const SealJob& job) {
    const std::uint32_t in_place =
        job.length - std::min(job.length, job.body != nullptr ? job.body_length : 0);
    if (in_place >= ipv4_header_size && job.inner[0] >> 4 == 4) {
        return {NextHeader::ipv4, job.inner[1], ipv4_header_size};
    }
    if (in_place >= ipv6_header_size && job.inner[0] >> 4 == 6) {
        const auto ds = static_cast<std::uint8_t>(job.inner[0] << 4 | job.inner[1] >> 4);
        return {NextHeader::ipv6, ds, ipv6_header_size};
    }
    return {};
}

/// Whether the receiver can tell the packet from zeros behind it: only by the length that its header says
/// (RFC 4303 section 2.7).
bool says_its_length(const SealJob& job, NextHeader version) {
    return job.length == (version == NextHeader::ipv4
                              ? load_big_endian<std::uint16_t>(job.inner + 2)
                              : ipv6_header_size + load_big_endian<std::uint16_t>(job.inner + 4));
}

/// Sizes of a suite; known to the compiler where that pays.
struct Geometry {
    std::size_t iv_size;
    std::size_t alignment;
    std::size_t icv_size;
};

constexpr Geometry gcm_geometry{8, 4, 16};

/// A packet whose headers are written.
struct Prepared {
    std::uint8_t* esp = nullptr;  ///< the SPI
    std::size_t length = 0;       ///< bytes of the inner packet, filled up
    std::size_t padded = 0;       ///< bytes of padding
    std::size_t text = 0;         ///< bytes to encrypt, behind ESP header and IV
    NextHeader inner = NextHeader::none;
};

/// 1, 2, 3, ... as the padding is (RFC 4303 section 2.4).
constexpr auto counting = [] {
    std::array<std::uint8_t, 16> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::uint8_t>(i + 1);
    }
    return bytes;
}();

/// Decides on the packet; if it is to be sealed, writes all in front of its IV and fills in the job.
[[gnu::always_inline]] inline SealVerdict prepare(const OutboundSa& sa, const Geometry& size,
                                                  std::uint64_t counter, SealJob& job, Prepared& prepared) {
    const Inner inner = inspect(job);
    if (inner.version == NextHeader::none) {
        return SealVerdict::not_ip;
    }
    const std::size_t length = sa.filled_length(job.length);
    if (length != job.length && !says_its_length(job, inner.version)) [[unlikely]] {
        return SealVerdict::wrong_length;
    }
    const std::size_t padded = (0 - (length + esp_trailer_size)) & (size.alignment - 1);
    const std::size_t text = length + padded + esp_trailer_size;
    if (job.room < text + size.icv_size) {
        return SealVerdict::no_room;
    }
    const std::size_t payload = esp_header_size + size.iv_size + text + size.icv_size;
    if (payload > sa.outer().largest_payload()) {
        return SealVerdict::too_big;
    }

    std::uint8_t* const esp = job.inner - esp_header_size - size.iv_size;
    store_big_endian(esp, std::uint64_t{std::to_underlying(sa.spi())} << 32 | (counter & UINT32_MAX));

    job.sealed = esp - sa.outer().size();
    job.sealed_length = static_cast<std::uint32_t>(sa.outer().size() + payload);
    sa.outer().write(job.sealed, payload, inner.ds, static_cast<std::uint16_t>(counter));
    prepared = {.esp = esp, .length = length, .padded = padded, .text = text, .inner = inner.version};
    return SealVerdict::sealed;
}

/// Moves the body to the inner packet, and fills that up.
inline void put_together(const SealJob& job, const Prepared& packet) {
    if (job.body != nullptr) {
        std::memcpy(job.inner + job.length - job.body_length, job.body, job.body_length);
    }
    if (packet.length != job.length) [[unlikely]] {
        std::memset(job.inner + job.length, 0, packet.length - job.length);
    }
}

/// And writes the trailer.
[[gnu::always_inline]] inline void complete(const SealJob& job, const Geometry& size,
                                            const Prepared& packet) {
    put_together(job, packet);
    std::uint8_t* const padding = job.inner + packet.length;
    if (size.alignment == 4) {
        // 0 to 3 bytes; writing all three saves a branch, and what is too much gets overwritten.
        std::memcpy(padding, counting.data(), 3);
    } else {
        std::memcpy(padding, counting.data(), packet.padded);
    }
    padding[packet.padded] = static_cast<std::uint8_t>(packet.padded);
    padding[packet.padded + 1] = std::to_underlying(packet.inner);
}

inline void finish(const OutboundSa& sa, const SealJob& job) {
    if (sa.outer().has_checksum()) [[unlikely]] {
        sa.outer().finish(job.sealed, job.sealed_length - sa.outer().size());
    }
}

/// Trailers of AES-GCM: of an IPv4, then of an IPv6 packet, with 0 to 3 bytes of padding.
using GcmTrailer = std::array<std::uint8_t, 8>;
constexpr auto gcm_trailers = [] {
    std::array<std::array<GcmTrailer, 4>, 2> all{};
    for (std::size_t padded = 0; padded < 4; ++padded) {
        for (const auto& [version, place] :
             {std::pair{NextHeader::ipv4, 0U}, std::pair{NextHeader::ipv6, 1U}}) {
            GcmTrailer& trailer = all[place][padded];
            for (std::size_t i = 0; i < padded; ++i) {
                trailer[i] = static_cast<std::uint8_t>(i + 1);
            }
            trailer[padded] = static_cast<std::uint8_t>(padded);
            trailer[padded + 1] = std::to_underlying(version);
        }
    }
    return all;
}();

/// The text of a packet that is to be gathered, from where the job has its parts.
[[gnu::always_inline]] inline void describe(const SealJob& job, const Prepared& packet, GatherText& text) {
    const std::uint32_t body = job.body != nullptr ? job.body_length : 0;
    text.text = job.inner;
    text.trailer = gcm_trailers[packet.inner == NextHeader::ipv4 ? 0 : 1][packet.padded].data();
    text.length = static_cast<std::uint32_t>(packet.length);
    text.size = static_cast<std::uint32_t>(packet.text);
    text.head = job.length - body;
    text.body = job.body;
    if (body == 0 || text.head > largest_gather_head || packet.length != job.length) [[unlikely]] {
        put_together(job, packet);
        text.head = ipv4_header_size;  // and the rest is a body that is in place
        text.body = job.inner + ipv4_header_size;
    }
}

/// AES-GCM by our own code, where the processor has what that takes.
std::size_t seal_gathered(const OutboundSa& sa, std::uint64_t first, std::span<SealJob> jobs) {
    const KeyTables& keys = sa.key().tables();
    const std::uint32_t spi = std::byteswap(std::to_underlying(sa.spi()));
    const bool extended = sa.extended_sequence();
    std::array<GatherText, largest_burst> texts;
    std::size_t count = 0;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        const std::uint64_t counter = first + i;
        Prepared packet;
        jobs[i].verdict = prepare(sa, gcm_geometry, counter, jobs[i], packet);
        if (jobs[i].verdict != SealVerdict::sealed) [[unlikely]] {
            continue;
        }
        GatherText& text = texts[count++];
        describe(jobs[i], packet, text);
        text.iv = std::byteswap(counter);
        std::memcpy(packet.esp + esp_header_size, &text.iv, sizeof text.iv);
        const auto low = std::uint64_t{std::byteswap(static_cast<std::uint32_t>(counter))};
        const auto high = std::uint64_t{std::byteswap(static_cast<std::uint32_t>(counter >> 32))};
        text.aad_low = spi | (extended ? high : low) << 32;
        text.aad_high = extended ? low : 0;
    }
    gather_gcm(keys.gather,
               {.salt = std::bit_cast<std::uint32_t>(keys.salt), .aad_size = extended ? 12U : 8U},
               texts.data(), count);
    if (sa.outer().has_checksum()) [[unlikely]] {
        for (const SealJob& job : jobs) {
            if (job.verdict == SealVerdict::sealed) {
                finish(sa, job);
            }
        }
    }
    return count;
}

/// What AES-GCM wants to know of a packet beside its text.
struct GcmPacket {
    Prepared prepared;
    std::array<std::uint8_t, 12> nonce{};  ///< salt, then the packet's IV (RFC 4106 section 4)
    std::array<std::uint8_t, 12> aad{};    ///< with extended sequence numbers (RFC 4106 section 5)
};

/// AES-GCM: a packet after the other by the library's direct call. A packet is put into place two packets
/// before its cipher reads it: late enough to be in the first-level cache still, and early enough for its
/// bytes, its nonce and its AAD to have got there. A wide load of what narrow stores have just written has to
/// wait for them.
std::size_t seal_gcm(IMB_MGR& manager, gcm_context_data& context, const OutboundSa& sa, std::uint64_t first,
                     std::span<SealJob> jobs) {
    constexpr std::size_t ahead = 2;
    const KeyTables& keys = sa.key().tables();
    const bool extended = sa.extended_sequence();
    const auto encrypt =
        sa.suite().cipher_key_size == IMB_KEY_256_BYTES ? manager.gcm256_enc : manager.gcm128_enc;
    std::array<GcmPacket, 2 * ahead> packets;  // by the job's number
    for (GcmPacket& packet : packets) {
        std::ranges::copy(keys.salt, packet.nonce.begin());
    }
    std::size_t sealed = 0;
    for (std::size_t next = 0; next < jobs.size() + ahead; ++next) {
        if (next < jobs.size()) {
            GcmPacket& packet = packets[next % packets.size()];
            const std::uint64_t counter = first + next;
            jobs[next].verdict = prepare(sa, gcm_geometry, counter, jobs[next], packet.prepared);
            if (jobs[next].verdict == SealVerdict::sealed) {
                complete(jobs[next], gcm_geometry, packet.prepared);
                store_big_endian(packet.prepared.esp + esp_header_size, counter);
                store_big_endian(packet.nonce.data() + 4, counter);
                if (extended) {
                    (void)write_extended_aad(sa.spi(), counter, packet.aad);
                }
            }
        }
        if (next < ahead || jobs[next - ahead].verdict != SealVerdict::sealed) {
            continue;
        }
        const SealJob& job = jobs[next - ahead];
        const GcmPacket& packet = packets[(next - ahead) % packets.size()];
        std::uint8_t* const esp = packet.prepared.esp;
        const std::size_t size = packet.prepared.text;
        std::uint8_t* const text = esp + esp_header_size + gcm_geometry.iv_size;
        // The AAD is the ESP header as it stands in the packet, or with the whole sequence number in it.
        encrypt(&keys.gcm, &context, text, text, size, packet.nonce.data(),
                extended ? packet.aad.data() : esp, extended ? packet.aad.size() : esp_header_size,
                text + size, gcm_geometry.icv_size);
        finish(sa, job);
        ++sealed;
    }
    return sealed;
}

/// The other suites: all packets of a burst at once. At most largest_burst jobs.
std::size_t seal_by_jobs(IMB_MGR& manager, const OutboundSa& sa, std::uint64_t first,
                         std::span<SealJob> jobs) {
    const lib::SuiteInfo& suite = sa.suite();
    const KeyTables& keys = sa.key().tables();
    const Geometry size{suite.iv_size, suite.alignment, suite.icv_size};
    std::array<CipherTask, largest_burst> tasks;
    std::array<std::uint64_t, largest_burst> counters;
    std::size_t count = 0;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        Prepared packet;
        jobs[i].verdict = prepare(sa, size, first + i, jobs[i], packet);
        if (jobs[i].verdict == SealVerdict::sealed) {
            complete(jobs[i], size, packet);
            counters[count] = first + i;
            tasks[count] = task_of(suite, packet.esp, packet.text);
            ++count;
        }
    }
    const auto all = std::span(tasks).first(count);
    bool done = suite.combined() || write_ivs(manager, suite, keys, all, std::span(counters).first(count));
    for (std::size_t k = 0; k < count; ++k) {
        if (suite.combined()) {
            store_big_endian(all[k].esp + esp_header_size, counters[k]);
        }
        bind_sequence(suite, keys, sa.extended_sequence(), counters[k], all[k]);
    }
    done = done && run(manager, suite, keys, Direction::seal, all);
    for (SealJob& job : jobs) {
        if (job.verdict == SealVerdict::sealed) {
            if (done) {
                finish(sa, job);
            } else {
                job.verdict = SealVerdict::no_cipher;
            }
        }
    }
    return done ? count : 0;
}

}  // namespace

std::expected<Sealer, std::string> Sealer::create(Engine engine) {
    auto context = lib::SecretBytes::allocate(sizeof(gcm_context_data));
    if (!context) {
        return std::unexpected(context.error());
    }
    return Sealer(std::move(engine), std::move(*context));
}

std::size_t Sealer::seal_burst(CounterBlock block, std::span<SealJob> jobs) {
    const OutboundSa& sa = block.sa();
    if (sa.key().implementation() != engine_.implementation()) {
        for (SealJob& job : jobs) {
            job.verdict = SealVerdict::no_cipher;
        }
        return 0;
    }
    const auto counted = jobs.first(std::min<std::size_t>(block.count(), jobs.size()));
    const bool gathered = sa.key().tables().gather.round_count != 0;
    std::size_t sealed = 0;
    if (sa.suite().cipher == lib::Cipher::aes_gcm && !gathered) {
        auto& context = *static_cast<gcm_context_data*>(static_cast<void*>(context_.data()));
        sealed = seal_gcm(*engine_.manager(), context, sa, block.first(), counted);
    } else {
        for (std::size_t from = 0; from < counted.size(); from += largest_burst) {
            const auto some = counted.subspan(from, std::min(largest_burst, counted.size() - from));
            sealed += gathered ? seal_gathered(sa, block.first() + from, some)
                               : seal_by_jobs(*engine_.manager(), sa, block.first() + from, some);
        }
    }
    for (SealJob& job : jobs.subspan(counted.size())) {
        job.verdict = SealVerdict::no_counter;
    }
    return sealed;
}

}  // namespace flowtap::crypto
