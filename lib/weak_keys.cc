#include "lib/weak_keys.h"

#include "lib/des_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace flowtap::lib {
namespace {

constexpr std::size_t longest_pattern = 8;

}  // namespace

std::string pattern_weakness(std::span<const std::uint8_t> key) {
    for (std::size_t length = 1; length <= longest_pattern && 2 * length <= key.size(); ++length) {
        if (std::ranges::equal(key.subspan(length), key.first(key.size() - length))) {
            return length == 1 ? "the key repeats one byte"
                               : fmt::format("the key repeats a pattern of {} bytes", length);
        }
    }
    return {};
}

std::string cipher_key_weakness(const SuiteInfo& suite, std::span<const std::uint8_t> key) {
    if (suite.cipher == Cipher::triple_des_cbc) {
        if (const auto weakness = triple_des_weakness(key.first<triple_des_key_size>()); !weakness.empty()) {
            return fmt::format("a weak 3DES key: {}", weakness);
        }
    }
    return pattern_weakness(key);
}

}  // namespace flowtap::lib
