#include "crypto/sealer.h"

#include "crypto/big_endian.h"
#include "crypto/cipher_jobs.h"
#include "crypto/gather_gcm.h"
#include "crypto/ipsec_mb.h"
#include "crypto/key_tables.h"
#include "crypto/seal_packet.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

namespace flowtap::crypto {
namespace {

constexpr Geometry gcm_geometry{8, 4, 16};

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
