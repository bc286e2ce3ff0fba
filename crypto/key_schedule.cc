#include "crypto/key_schedule.h"

#include "crypto/ipsec_mb.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace flowtap::crypto {
namespace {

struct Expanded {
    gcm_key_data gcm;
    std::uint8_t salt[4];
};

/// SecretBytes starts on a page, and Expanded is a plain aggregate of bytes.
Expanded* expanded(void* memory) {
    return static_cast<Expanded*>(memory);
}
const Expanded* expanded(const void* memory) {
    return static_cast<const Expanded*>(memory);
}

}  // namespace

std::expected<KeySchedule, std::string> KeySchedule::create(const Engine& engine, lib::Suite suite,
                                                            std::span<const std::uint8_t> key) {
    const lib::SuiteInfo* const info = lib::find_suite(suite);
    if (info == nullptr || info->suite != lib::Suite::aes_256_gcm_16) {
        return std::unexpected("unknown suite; aes-256-gcm-16 is known");
    }
    if (key.size() != info->key_size + info->salt_size) {
        return std::unexpected(fmt::format("{} bytes of key; {} needs {} and {} of salt", key.size(),
                                           info->name, info->key_size, info->salt_size));
    }
    auto memory = lib::SecretBytes::allocate(sizeof(Expanded));
    if (!memory) {
        return std::unexpected(memory.error());
    }
    Expanded* const target = expanded(memory->data());
    IMB_AES256_GCM_PRE(engine.manager(), key.data(), &target->gcm);
    std::ranges::copy(key.subspan(info->key_size), target->salt);
    return KeySchedule(std::move(*memory), engine.implementation());
}

const gcm_key_data* KeySchedule::gcm() const {
    return &expanded(memory_.data())->gcm;
}

std::span<const std::uint8_t, 4> KeySchedule::salt() const {
    return expanded(memory_.data())->salt;
}

}  // namespace flowtap::crypto
