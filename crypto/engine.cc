#include "crypto/engine.h"

#include "crypto/ipsec_mb.h"
#include "crypto/key_tables.h"
#include "crypto/known_answers.h"

#include <fmt/format.h>

#include <optional>

namespace flowtap::crypto {
namespace {

/// What the library says that it initialized; nullopt: an implementation without AES instructions, or none at
/// all.
std::optional<Implementation> initialized(IMB_MGR& manager, Implementation wanted) {
    switch (wanted) {
        case Implementation::automatic: {
            IMB_ARCH chosen = IMB_ARCH_NONE;
            init_mb_mgr_auto(&manager, &chosen);
            break;
        }
        case Implementation::sse:
            init_mb_mgr_sse(&manager);
            break;
        case Implementation::avx:
            init_mb_mgr_avx(&manager);
            break;
        case Implementation::avx2:
            init_mb_mgr_avx2(&manager);
            break;
        case Implementation::avx512:
            init_mb_mgr_avx512(&manager);
            break;
    }
    switch (manager.used_arch) {
        case IMB_ARCH_SSE:
            return Implementation::sse;
        case IMB_ARCH_AVX:
            return Implementation::avx;
        case IMB_ARCH_AVX2:
            return Implementation::avx2;
        case IMB_ARCH_AVX512:
            return Implementation::avx512;
        default:
            return std::nullopt;
    }
}

}  // namespace

std::expected<Engine, std::string> Engine::create(Implementation wanted) {
    auto memory = lib::SecretBytes::allocate(imb_get_mb_mgr_size());
    if (!memory) {
        return std::unexpected(memory.error());
    }
    constexpr std::uint64_t no_flags = 0;
    constexpr unsigned reset = 1;
    IMB_MGR* const manager = imb_set_pointers_mb_mgr(memory->data(), no_flags, reset);
    if (manager == nullptr) {
        return std::unexpected("no memory for IPsec-MB");
    }
    const auto implementation = initialized(*manager, wanted);
    if (const int error = imb_get_errno(manager); error != 0) {
        return std::unexpected(
            fmt::format("IPsec-MB cannot start ({}): {}", to_string(wanted), imb_get_strerror(error)));
    }
    if (!implementation) {
        return std::unexpected("this CPU lacks the AES instructions (AES-NI) that IPsec-MB needs");
    }
    constexpr std::uint64_t self_test = IMB_FEATURE_SELF_TEST | IMB_FEATURE_SELF_TEST_PASS;
    if ((manager->features & self_test) != self_test) {
        return std::unexpected("IPsec-MB has not passed its own self-test");
    }
    if (const auto verified = verify_known_answers(*manager); !verified) {
        return std::unexpected(verified.error());
    }
    return Engine(std::move(*memory), manager, *implementation);
}

std::string Engine::description() const {
    return fmt::format("IPsec-MB ({}){}", to_string(implementation_),
                       can_gather(*manager_) ? ", AES-GCM by own code" : "");
}

std::string_view to_string(Implementation implementation) {
    switch (implementation) {
        case Implementation::automatic:
            return "automatic";
        case Implementation::sse:
            return "sse";
        case Implementation::avx:
            return "avx";
        case Implementation::avx2:
            return "avx2";
        case Implementation::avx512:
            return "avx512";
    }
    return "unknown";
}

}  // namespace flowtap::crypto
