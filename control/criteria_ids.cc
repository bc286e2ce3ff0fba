#include "control/criteria_ids.h"

#include "control/durable_file.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace flowtap::control {

namespace {

constexpr std::string_view first_line = "flowtap-criteria-ids 1\n";

struct State {
    IdPermutation::Key key{};
    std::uint64_t next = 1;
};

std::optional<State> read_state(std::string_view text) {
    State state;
    if (!text.starts_with(first_line) || text.size() < first_line.size() + 33 || !text.ends_with('\n')) {
        return std::nullopt;
    }
    text.remove_prefix(first_line.size());
    text.remove_suffix(1);
    for (std::size_t i = 0; i < state.key.size(); ++i) {
        const char* const pair = text.data() + 2 * i;
        if (std::from_chars(pair, pair + 2, state.key[i], 16).ptr != pair + 2) {
            return std::nullopt;
        }
    }
    text.remove_prefix(32);
    if (!text.starts_with(' ')) {
        return std::nullopt;
    }
    text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), state.next);
    if (error != std::errc{} || end != text.data() + text.size() || state.next < 1 ||
        state.next > criteria_id_count + 1) {
        return std::nullopt;
    }
    return state;
}

std::string write_state(const IdPermutation::Key& key, std::uint64_t next) {
    std::string text{first_line};
    for (const auto byte : key) {
        text += fmt::format("{:02x}", byte);
    }
    return text + fmt::format(" {}\n", next);
}

}  // namespace

void IdPermutation::Free::operator()(evp_cipher_ctx_st* context) const {
    ::EVP_CIPHER_CTX_free(context);
}

std::expected<IdPermutation, std::string> IdPermutation::create(const Key& key) {
    Context context{::EVP_CIPHER_CTX_new()};
    if (!context ||
        ::EVP_EncryptInit_ex(context.get(), ::EVP_aes_128_ecb(), nullptr, key.data(), nullptr) != 1 ||
        ::EVP_CIPHER_CTX_set_padding(context.get(), 0) != 1) {
        return std::unexpected{"OpenSSL has no AES-128"};
    }
    return IdPermutation{std::move(context)};
}

std::uint32_t IdPermutation::round(std::uint32_t half, std::uint8_t number) {
    std::array<std::uint8_t, 16> in{number, static_cast<std::uint8_t>(half >> 8),
                                    static_cast<std::uint8_t>(half)};
    std::array<std::uint8_t, 16> out{};
    int size = 0;
    static_cast<void>(::EVP_EncryptUpdate(context_.get(), out.data(), &size, in.data(), in.size()));
    return static_cast<std::uint32_t>(out[0]) << 8 | out[1];
}

std::uint64_t IdPermutation::operator()(std::uint64_t place) {
    // The network permutes 32 bits; walking its cycle until it is back in the domain permutes the domain.
    auto value = static_cast<std::uint32_t>(place);
    do {
        std::uint32_t left = value >> 16;
        std::uint32_t right = value & 0xffff;
        for (std::uint8_t number = 0; number < 10; ++number) {
            const std::uint32_t mixed = left ^ round(right, number);
            left = right;
            right = mixed;
        }
        value = left << 16 | right;
    } while (value < 1 || value > criteria_id_count);
    return value;
}

std::expected<CriteriaIds, std::string> CriteriaIds::open(const std::filesystem::path& directory) {
    auto file = directory / "criteria-ids";
    const auto content = read_small_file(file, 4096);
    if (!content) {
        return std::unexpected{content.error()};
    }
    State state;
    if (*content) {
        const auto read = read_state(**content);
        if (!read) {
            return std::unexpected{
                fmt::format("{}: damaged: remove it (Criteria-IDs then start from a new secret, and an old "
                            "one may come again)",
                            file.string())};
        }
        state = *read;
    } else if (::RAND_bytes(state.key.data(), static_cast<int>(state.key.size())) != 1) {
        return std::unexpected{"OpenSSL has no random numbers"};
    }
    auto permutation = IdPermutation::create(state.key);
    if (!permutation) {
        return std::unexpected{permutation.error()};
    }
    return CriteriaIds{std::move(file), state.key, std::move(*permutation), state.next};
}

std::expected<void, std::string> CriteriaIds::reserve() {
    const auto end = std::min(next_ + block, criteria_id_count + 1);
    if (auto written = write_durably(file_, write_state(key_, end)); !written) {
        return written;
    }
    reserved_ = end;
    return {};
}

std::expected<lib::TapId, std::string> CriteriaIds::take() {
    if (next_ > criteria_id_count) {
        return std::unexpected{fmt::format("{}: all Criteria-IDs are used up", file_.string())};
    }
    if (next_ == reserved_) {
        if (auto reserved = reserve(); !reserved) {
            return std::unexpected{reserved.error()};
        }
    }
    return lib::TapId{permutation_(next_++)};
}

}  // namespace flowtap::control
