#include "crypto/key_schedule.h"

#include "crypto/key_tables.h"

#include <fmt/format.h>

#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace flowtap::crypto {

static_assert(std::is_trivially_destructible_v<KeyTables>, "SecretBytes wipes, and destroys nothing");

std::expected<KeySchedule, std::string> KeySchedule::create(const Engine& engine, lib::Suite suite,
                                                            std::span<const std::uint8_t> key) {
    const lib::SuiteInfo* const info = lib::find_suite(suite);
    if (info == nullptr) {
        return std::unexpected("unknown suite");
    }
    if (key.size() != info->key_material_size()) {
        return std::unexpected(
            fmt::format("{} bytes of key; {} needs {}, {} of salt and {} of authentication key", key.size(),
                        info->name, info->cipher_key_size, info->salt_size, info->authentication_key_size));
    }
    auto memory = lib::SecretBytes::allocate(sizeof(KeyTables));  // zeroed, and on a page of its own
    if (!memory) {
        return std::unexpected(memory.error());
    }
    if (!expand(*engine.manager(), *info, key, *::new (memory->data()) KeyTables)) {
        return std::unexpected("OpenSSL cannot derive a key");
    }
    return KeySchedule(std::move(*memory), engine.implementation(), *info);
}

const KeyTables& KeySchedule::tables() const {
    return *std::launder(reinterpret_cast<const KeyTables*>(memory_.data()));
}

}  // namespace flowtap::crypto
