// A suite's keys as IPsec-MB wants them. For the .cc files of this folder.
#pragma once

#include "crypto/gather_gcm.h"
#include "crypto/ipsec_mb.h"
#include "lib/suite.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace flowtap::crypto {

/// Bytes of a widest AES schedule: 15 round keys.
inline constexpr std::size_t aes_schedule_size = std::size_t{15} * 16;

using DesSchedule = std::array<std::uint64_t, 16>;

/// Schedules of K1, K2, K3, and what the library takes in their place. Not to be moved: it points into
/// itself.
struct TripleDes {
    std::array<DesSchedule, 3> schedules;
    std::array<const void*, 3> pointers;
};

/// Only what the suite needs is filled in. Lies in lib::SecretBytes; not to be moved.
struct KeyTables {
    gcm_key_data gcm;
    GatherKeys gather;  ///< AES-GCM, where can_gather()
    alignas(16) std::array<std::uint8_t, aes_schedule_size> aes_encrypt;
    alignas(16) std::array<std::uint8_t, aes_schedule_size> aes_decrypt;
    alignas(
        16) std::array<std::uint8_t, aes_schedule_size> aes_iv;  ///< AES-128, of the IV key (cipher_jobs.h)
    TripleDes des;
    TripleDes des_iv;
    alignas(16) std::array<std::uint8_t, 64> hmac_inner;  ///< hash state after the key and ipad (RFC 2104)
    alignas(16) std::array<std::uint8_t, 64> hmac_outer;
    std::array<std::uint8_t, 32> chacha;
    std::array<std::uint8_t, 4> salt;
};

/// Whether gather_gcm() can run where the library runs the implementation that it has chosen.
bool can_gather(const IMB_MGR& manager);

/// `key`: SuiteInfo::key_material_size() bytes; `tables`: zeroed. Leaves nothing of the key elsewhere. False:
/// OpenSSL could not derive the IV key.
bool expand(IMB_MGR& manager, const lib::SuiteInfo& suite, std::span<const std::uint8_t> key,
            KeyTables& tables);

}  // namespace flowtap::crypto
