// What sealing costs beside the bare cipher, in TSC cycles a packet of a burst of 32 copies (28 bytes of IPv4
// and UDP in front of the original), and which way to get the original into place is the cheapest. Then the
// same for every suite: IPsec-MB's burst of jobs alone, sealing, opening.
//
// All rows take turns within each round, so that a noisy machine disturbs them alike; what is printed are
// medians, of cycles and of the ratio to the bare cipher in the same round. --json prints one object a line.
#include "crypto/cipher_jobs.h"
#include "crypto/engine.h"
#include "crypto/inbound_sa.h"
#include "crypto/ipsec_mb.h"
#include "crypto/key_tables.h"
#include "crypto/opener.h"
#include "crypto/outbound_sa.h"
#include "crypto/sealer.h"
#include "lib/address.h"
#include "test/bench/bench_rows.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include <x86intrin.h>

namespace flowtap::test {
namespace {

constexpr std::size_t burst = 32;
constexpr std::size_t rounds = 2000;
constexpr std::size_t encapsulation = 28;
constexpr std::size_t buffer_size = 2304;  // a DPDK buffer and its header
constexpr std::size_t buffers = 1024;      // 2.3 MB: more than the second-level cache, as a pool of frames is
constexpr std::size_t headroom = 192;

constexpr std::array<std::uint8_t, 36> key{1, 2, 3, 4, 5};

void check(bool holds) {
    if (!holds) {
        fmt::print(stderr, "esp-bench: what was measured did not work\n");
        std::abort();
    }
}

/// Buffers that a burst after the other goes through.
class Pool {
  public:
    Pool() : bytes_(buffer_size * buffers, 0x5a) {}
    std::uint8_t* at(std::size_t i) { return bytes_.data() + i % buffers * buffer_size + headroom; }

  private:
    std::vector<std::uint8_t> bytes_;
};

class Bench {
  public:
    explicit Bench(std::size_t original)
        : original_(original),
          inner_(encapsulation + original),
          engine_(crypto::Engine::create().value()),
          sealer_(crypto::Sealer::create(crypto::Engine::create().value()).value()),
          opener_(crypto::Opener::create(crypto::Engine::create().value()).value()) {
        crypto::OutboundParameters parameters;
        parameters.spi = lib::Spi{0x1001};
        parameters.key = key;
        parameters.local = lib::parse_address("100.100.100.100").value();
        parameters.remote = lib::parse_address("123.123.123.123").value();
        parameters.lease = {0, std::uint64_t{1} << 32};
        sa_ = crypto::OutboundSa::create(engine_, parameters).value();
        inbound_ =
            crypto::InboundSa::create(engine_, {.spi = lib::Spi{0x1001}, .key = key, .window = std::nullopt})
                .value();
        text_ = inner_ + sa_->tailroom(inner_) - 16;
        header_[0] = 0x45;
        header_[2] = static_cast<std::uint8_t>(inner_ >> 8);
        header_[3] = static_cast<std::uint8_t>(inner_);
    }

    void next_burst() {
        base_ += burst;
        // The parser has read the frames' headers before.
        for (std::size_t i = 0; i < burst; ++i) {
            _mm_prefetch(source(i), _MM_HINT_T0);
        }
    }

    void raw() {
        for (std::size_t i = 0; i < burst; ++i) {
            engine_.manager()->gcm256_enc(&sa_->key().tables().gcm, &context_, target(i), target(i), text_,
                                          nonce_.data(), nonce_.data(), 8, target(i) + text_, 16);
        }
    }

    void raw_burst() {
        std::array<IMB_JOB*, burst> jobs{};
        IMB_GET_NEXT_BURST(engine_.manager(), burst, jobs.data());
        for (std::size_t i = 0; i < burst; ++i) {
            IMB_JOB& job = *jobs[i];
            job.cipher_mode = IMB_CIPHER_GCM;
            job.hash_alg = IMB_AUTH_AES_GMAC;
            job.chain_order = IMB_ORDER_CIPHER_HASH;
            job.cipher_direction = IMB_DIR_ENCRYPT;
            job.enc_keys = job.dec_keys = &sa_->key().tables().gcm;
            job.key_len_in_bytes = 32;
            job.src = job.dst = target(i);
            job.cipher_start_src_offset_in_bytes = job.hash_start_src_offset_in_bytes = 0;
            job.msg_len_to_cipher_in_bytes = job.msg_len_to_hash_in_bytes = text_;
            job.iv = nonce_.data();
            job.iv_len_in_bytes = 12;
            job.u.GCM.aad = nonce_.data();
            job.u.GCM.aad_len_in_bytes = 8;
            job.auth_tag_output = target(i) + text_;
            job.auth_tag_output_len_in_bytes = 16;
        }
        check(IMB_SUBMIT_BURST_NOCHECK(engine_.manager(), burst, jobs.data()) == burst);
    }

    void copy_then_seal() {
        for (std::size_t i = 0; i < burst; ++i) {
            std::memcpy(target(i), header_.data(), encapsulation);
            std::memcpy(target(i) + encapsulation, source(i), original_);
        }
        seal(false);
    }

    void gather_seal() {
        for (std::size_t i = 0; i < burst; ++i) {
            std::memcpy(target(i), header_.data(), encapsulation);
        }
        seal(true);
    }

    /// IPsec-MB's scatter-gather calls for the cipher alone, without a copy: what a one-pass gather would be
    /// made of.
    void scatter_gather() {
        IMB_MGR* const manager = engine_.manager();
        const gcm_key_data* const schedule = &sa_->key().tables().gcm;
        for (std::size_t i = 0; i < burst; ++i) {
            std::array<std::uint8_t, 32> first{};
            std::memcpy(first.data(), header_.data(), encapsulation);
            std::memcpy(first.data() + encapsulation, source(i), 4);
            const std::size_t middle = (original_ - 4) / 16 * 16;
            const std::size_t last = text_ - 32 - middle;
            std::array<std::uint8_t, 32> tail{};
            std::memcpy(tail.data(), source(i) + 4 + middle, original_ - 4 - middle);
            IMB_AES256_GCM_INIT(manager, schedule, &context_, nonce_.data(), nonce_.data(), 8);
            IMB_AES256_GCM_ENC_UPDATE(manager, schedule, &context_, target(i), first.data(), 32);
            IMB_AES256_GCM_ENC_UPDATE(manager, schedule, &context_, target(i) + 32, source(i) + 4, middle);
            IMB_AES256_GCM_ENC_UPDATE(manager, schedule, &context_, target(i) + 32 + middle, tail.data(),
                                      last);
            IMB_AES256_GCM_ENC_FINALIZE(manager, schedule, &context_, target(i) + text_, 16);
        }
    }

    /// Opens what gather_seal() of the same round sealed.
    void open() {
        for (std::size_t i = 0; i < burst; ++i) {
            const auto opened = opener_.open(*inbound_, {target(i) - 16, 16 + text_ + 16});
            check(opened.verdict == crypto::OpenVerdict::opened);
        }
    }

  private:
    std::uint8_t* source(std::size_t i) { return frames_.at(base_ + i); }
    std::uint8_t* target(std::size_t i) { return copies_.at(base_ + i); }

    void seal(bool gather) {
        std::array<crypto::SealJob, burst> jobs;
        for (std::size_t i = 0; i < burst; ++i) {
            jobs[i].inner = target(i);
            jobs[i].length = static_cast<std::uint32_t>(inner_);
            jobs[i].room = buffer_size - headroom;
            if (gather) {
                jobs[i].body = source(i);
                jobs[i].body_length = static_cast<std::uint32_t>(original_);
            }
        }
        check(sealer_.seal_burst(sa_->take(burst), jobs) == burst);
    }

    std::size_t original_;
    std::size_t inner_;
    std::size_t text_ = 0;  ///< bytes that the cipher encrypts
    crypto::Engine engine_;
    crypto::Sealer sealer_;
    crypto::Opener opener_;
    std::unique_ptr<crypto::OutboundSa> sa_;
    std::unique_ptr<crypto::InboundSa> inbound_;
    Pool frames_;
    Pool copies_;
    std::size_t base_ = 0;
    gcm_context_data context_{};
    std::array<std::uint8_t, 16> nonce_{};
    std::array<std::uint8_t, encapsulation> header_{};
};

/// One suite. The bare row is what the library does for a burst of packets that lie ready, headers written.
class SuiteBench {
  public:
    SuiteBench(const lib::SuiteInfo& suite, std::size_t original)
        : suite_(suite),
          original_(original),
          inner_(encapsulation + original),
          engine_(crypto::Engine::create().value()),
          sealer_(crypto::Sealer::create(crypto::Engine::create().value()).value()),
          opener_(crypto::Opener::create(crypto::Engine::create().value()).value()) {
        std::vector<std::uint8_t> material(suite.key_material_size());
        std::ranges::generate(material, [n = std::uint8_t{0}]() mutable { return ++n; });
        crypto::OutboundParameters parameters;
        parameters.spi = lib::Spi{0x1001};
        parameters.suite = suite.suite;
        parameters.key = material;
        parameters.local = lib::parse_address("100.100.100.100").value();
        parameters.remote = lib::parse_address("123.123.123.123").value();
        parameters.lease = {0, std::uint64_t{1} << 32};
        sa_ = crypto::OutboundSa::create(engine_, parameters).value();
        inbound_ =
            crypto::InboundSa::create(
                engine_,
                {.spi = lib::Spi{0x1001}, .suite = suite.suite, .key = material, .window = std::nullopt})
                .value();
        in_front_ = std::size_t{8} + suite.iv_size;
        text_ = inner_ + sa_->tailroom(inner_) - suite.icv_size;
        header_[0] = 0x45;
        header_[2] = static_cast<std::uint8_t>(inner_ >> 8);
        header_[3] = static_cast<std::uint8_t>(inner_);
    }

    void next_burst() { base_ += burst; }

    void raw() {
        std::array<crypto::CipherTask, burst> tasks;
        for (std::size_t i = 0; i < burst; ++i) {
            std::uint8_t* const esp = target(i) - in_front_;
            if (suite_.cipher == lib::Cipher::aes_gcm) {
                const auto encrypt = suite_.cipher_key_size == 32 ? engine_.manager()->gcm256_enc
                                                                  : engine_.manager()->gcm128_enc;
                encrypt(&sa_->key().tables().gcm, &context_, target(i), target(i), text_, nonce_.data(),
                        nonce_.data(), 8, target(i) + text_, 16);
            } else {
                tasks[i] = crypto::task_of(suite_, esp, text_);
                tasks[i].additional = 8;
            }
        }
        check(suite_.cipher == lib::Cipher::aes_gcm ||
              crypto::run(*engine_.manager(), suite_, sa_->key().tables(), crypto::Direction::seal, tasks));
    }

    void seal() {
        std::array<crypto::SealJob, burst> jobs;
        for (std::size_t i = 0; i < burst; ++i) {
            std::memcpy(target(i), header_.data(), encapsulation);
            jobs[i] = {.inner = target(i),
                       .length = static_cast<std::uint32_t>(inner_),
                       .room = buffer_size - headroom,
                       .body = frames_.at(base_ + i),
                       .body_length = static_cast<std::uint32_t>(original_)};
        }
        check(sealer_.seal_burst(sa_->take(burst), jobs) == burst);
    }

    void open() {
        for (std::size_t i = 0; i < burst; ++i) {
            const auto opened =
                opener_.open(*inbound_, {target(i) - in_front_, in_front_ + text_ + suite_.icv_size});
            check(opened.verdict == crypto::OpenVerdict::opened);
        }
    }

  private:
    std::uint8_t* target(std::size_t i) { return copies_.at(base_ + i); }

    const lib::SuiteInfo& suite_;
    std::size_t original_;
    std::size_t inner_;
    std::size_t text_ = 0;
    std::size_t in_front_ = 0;
    crypto::Engine engine_;
    crypto::Sealer sealer_;
    crypto::Opener opener_;
    std::unique_ptr<crypto::OutboundSa> sa_;
    std::unique_ptr<crypto::InboundSa> inbound_;
    Pool frames_;
    Pool copies_;
    std::size_t base_ = 0;
    gcm_context_data context_{};
    std::array<std::uint8_t, 16> nonce_{};
    std::array<std::uint8_t, encapsulation> header_{};
};

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

/// The rows of one bench by turns; the first is what the others are compared with.
template <typename Bench, std::size_t count>
void measure(Bench& bench, std::string_view suite, std::size_t original, bool json, std::size_t turns,
             const std::array<std::pair<std::string_view, void (Bench::*)()>, count>& rows) {
    std::array<std::vector<double>, count> cycles;
    std::array<std::vector<double>, count> ratios;
    for (std::size_t round = 0; round < turns; ++round) {
        for (std::size_t row = 0; row < count; ++row) {
            if (rows[row].second != &Bench::open) {
                bench.next_burst();
            }
            const std::uint64_t start = __rdtsc();
            (bench.*rows[row].second)();
            cycles[row].push_back(static_cast<double>(__rdtsc() - start) / burst);
            ratios[row].push_back(cycles[row].back() / cycles[0].back());
        }
    }
    static const double ticks = ticks_per_microsecond();
    for (std::size_t row = 0; row < count; ++row) {
        const double cycles_of = median(cycles[row]);
        const double ratio = median(ratios[row]);
        if (json) {
            fmt::print(
                "{{\"suite\": \"{}\", \"row\": \"{}\", \"original_bytes\": {}, \"cycles\": {:.1f}, "
                "\"mpps\": {:.4f}, \"ratio\": {:.3f}}}\n",
                suite, rows[row].first, original, cycles_of, ticks / cycles_of, ratio);
        } else {
            fmt::print("{:<28} {:>5} bytes  {:<15} {:>6.0f} cycles  {:>5.2f} of the bare cipher\n", suite,
                       original, rows[row].first, cycles_of, ratio);
        }
    }
}

void measure_gcm(std::size_t original, bool json) {
    Bench bench(original);
    measure<Bench, 6>(bench, "aes-256-gcm-16", original, json, rounds,
                      {{{"raw", &Bench::raw},
                        {"raw-burst", &Bench::raw_burst},
                        {"copy-then-seal", &Bench::copy_then_seal},
                        {"scatter-gather", &Bench::scatter_gather},
                        {"gather-seal", &Bench::gather_seal},
                        {"open", &Bench::open}}});
}

void measure_suite(const lib::SuiteInfo& suite, std::size_t original, bool json) {
    SuiteBench bench(suite, original);
    // Triple DES takes a hundred times as long as AES-GCM.
    const std::size_t turns = suite.cipher == lib::Cipher::triple_des_cbc ? rounds / 20 : rounds / 4;
    measure<SuiteBench, 3>(
        bench, suite.name, original, json, turns,
        {{{"raw", &SuiteBench::raw}, {"seal", &SuiteBench::seal}, {"open", &SuiteBench::open}}});
}

constexpr std::size_t largest_original = 1486;  // what seals it fits Pool's buffers

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    using namespace flowtap;
    CLI::App app("What sealing and opening cost beside the bare cipher, in TSC cycles a packet.",
                 "esp-bench");
    bool json = false;
    std::vector<std::size_t> originals;
    std::string name;
    app.add_flag("--json", json, "one object a line");
    auto* const of_suite =
        app.add_option("--suite", name, "only this suite (lib/suite.h)")->check([](const std::string& suite) {
            return lib::find_suite(suite) != nullptr ? std::string{} : "no such suite: " + suite;
        });
    app.add_option("--original", originals, "with --suite: bytes of the packet that is copied")
        ->check(CLI::Range(std::size_t{20}, test::largest_original))
        ->needs(of_suite);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    if (*of_suite) {
        for (const std::size_t original :
             originals.empty() ? std::vector<std::size_t>{60, 512, 1476} : originals) {
            test::measure_suite(*lib::find_suite(name), original, json);
        }
        return 0;
    }
    for (const std::size_t original : {46U, 60U, 200U, 512U, 1000U, 1400U, 1486U}) {
        test::measure_gcm(original, json);
    }
    for (const auto& suite : lib::suites) {
        for (const std::size_t original : {60U, 512U, 1476U}) {
            test::measure_suite(suite, original, json);
        }
    }
    return 0;
}
