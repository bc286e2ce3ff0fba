#include "control/lease_store.h"

#include "control/durable_file.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace flowtap::control {

namespace {

constexpr std::string_view first_line = "flowtap-leases 1";
constexpr std::size_t largest_file = std::size_t{64} * 1024;
constexpr std::uint64_t first_counter = 1;  // RFC 4303 section 3.3.3: the first packet's number

std::string hex(std::span<const std::uint8_t> bytes) {
    std::string text;
    for (const auto byte : bytes) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<KeyDigest> digest_from(std::string_view text) {
    KeyDigest digest{};
    if (text.size() != 2 * digest.size()) {
        return std::nullopt;
    }
    for (std::size_t i = 0; i < digest.size(); ++i) {
        const char* const pair = text.data() + 2 * i;
        if (std::from_chars(pair, pair + 2, digest[i], 16).ptr != pair + 2) {
            return std::nullopt;
        }
    }
    return digest;
}

std::string sha256_line(std::string_view content) {
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
    const std::string text{content};
    static_cast<void>(
        ::EVP_Digest(text.data(), text.size(), digest.data(), nullptr, ::EVP_sha256(), nullptr));
    return fmt::format("sha256 {}\n", hex(digest));
}

/// Takes the first line off `text`, without its line end; false: there is none.
bool next_line(std::string_view& text, std::string_view& line) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) {
        return false;
    }
    line = text.substr(0, end);
    text.remove_prefix(end + 1);
    return true;
}

/// The first value after the block of `space` that `value`, which is below its end, lies in.
std::uint64_t end_of_block(std::uint64_t value, const SequenceSpace& space) {
    const std::uint64_t left = space.block - value % space.block;
    return left < space.end - value ? value + left : space.end;
}

std::string advice(const std::filesystem::path& directory) {
    return fmt::format(
        "no static key may be used again. Install new keys, remove {0}/leases and {0}/leases.generation, and "
        "run "
        "flowtap-control --new-keys",
        directory.string());
}

}  // namespace

KeyDigest key_digest(std::span<const std::uint8_t> cipher_key) {
    // HMAC keyed by the secret over a fixed label: one-way, and no other use of the key gives this value.
    constexpr std::string_view label = "flowtap counter record";
    KeyDigest digest{};
    unsigned int size = digest.size();
    static_cast<void>(::HMAC(::EVP_sha256(), cipher_key.data(), static_cast<int>(cipher_key.size()),
                             reinterpret_cast<const unsigned char*>(label.data()), label.size(),
                             digest.data(), &size));
    return digest;
}

std::expected<LeaseStore, std::string> LeaseStore::open(std::filesystem::path directory) {
    LeaseStore store{std::move(directory)};
    const auto leases = store.directory_ / "leases";
    const auto marker = store.directory_ / "leases.generation";

    const auto marked = read_small_file(marker, largest_file);
    if (!marked) {
        return std::unexpected{marked.error()};
    }
    const auto content = read_small_file(leases, largest_file);
    if (!content) {
        return std::unexpected{content.error()};
    }
    if (!*marked && !*content) {
        return store;
    }
    if (!*marked) {
        return std::unexpected{fmt::format("{} is missing beside {}: {}", marker.string(), leases.string(),
                                           advice(store.directory_))};
    }
    std::string_view text = **marked;
    std::string_view line;
    const auto expected = next_line(text, line) ? number(line) : std::nullopt;
    if (!expected) {
        return std::unexpected{
            fmt::format("{}: not a generation number: {}", marker.string(), advice(store.directory_))};
    }
    if (!*content && *expected > 1) {
        return std::unexpected{fmt::format("{} is lost: {}", leases.string(), advice(store.directory_))};
    }
    if (*content) {
        if (auto loaded = store.load(**content); !loaded) {
            return std::unexpected{
                fmt::format("{}: {}: {}", leases.string(), loaded.error(), advice(store.directory_))};
        }
    }
    if (store.generation_ == *expected) {
        return store;
    }
    if (store.generation_ + 1 != *expected) {
        return std::unexpected{
            fmt::format("{} is of generation {}, but generation {} was written: it was rolled "
                        "back: {}",
                        leases.string(), store.generation_, *expected, advice(store.directory_))};
    }
    for (auto& [key, next] : store.next_) {
        // Which space the lost grant was of is not known: the wider block covers both.
        next = end_of_block(next, extended_space);
    }
    store.generation_ = *expected;
    if (auto saved = store.save(); !saved) {
        return std::unexpected{saved.error()};
    }
    return store;
}

std::expected<void, std::string> LeaseStore::load(std::string_view content) {
    const auto tail = content.rfind("sha256 ");
    if (tail == std::string_view::npos || sha256_line(content.substr(0, tail)) != content.substr(tail)) {
        return std::unexpected{"damaged (its digest does not match)"};
    }
    content = content.substr(0, tail);
    std::string_view line;
    if (!next_line(content, line) || line != first_line) {
        return std::unexpected{fmt::format("does not start with '{}'", first_line)};
    }
    if (!next_line(content, line) || !line.starts_with("generation ")) {
        return std::unexpected{"has no generation"};
    }
    const auto generation = number(line.substr(11));
    if (!generation) {
        return std::unexpected{"has no generation"};
    }
    generation_ = *generation;
    while (next_line(content, line)) {
        const auto space = line.find(' ');
        const auto key = digest_from(line.substr(0, space));
        const auto next = space == std::string_view::npos ? std::nullopt : number(line.substr(space + 1));
        if (!key || !next || *next < first_counter) {
            return std::unexpected{"has a line that is no record"};
        }
        next_[*key] = *next;
    }
    return {};
}

std::expected<void, std::string> LeaseStore::save() {
    if (broken_) {
        return std::unexpected{
            fmt::format("{}: an earlier write failed; restart flowtap-control when the medium "
                        "is well again",
                        directory_.string())};
    }
    const auto generation = generation_ + 1;
    std::string content = fmt::format("{}\ngeneration {}\n", first_line, generation);
    for (const auto& [key, next] : next_) {
        content += fmt::format("{} {}\n", hex(key), next);
    }
    content += sha256_line(content);
    if (auto marked = write_durably(directory_ / "leases.generation", fmt::format("{}\n", generation));
        !marked) {
        broken_ = true;
        return marked;
    }
    if (auto written = write_durably(directory_ / "leases", content); !written) {
        broken_ = true;
        return written;
    }
    generation_ = generation;
    return {};
}

std::expected<std::size_t, std::string> LeaseStore::record_new(std::span<const KeyDigest> keys) {
    std::size_t fresh = 0;
    for (const auto& key : keys) {
        fresh += next_.try_emplace(key, first_counter).second ? 1U : 0U;
    }
    if (fresh != 0) {
        if (auto saved = save(); !saved) {
            return std::unexpected{saved.error()};
        }
    }
    return fresh;
}

std::expected<lib::Lease, std::string> LeaseStore::grant(const KeyDigest& key, const SequenceSpace& space) {
    const auto found = next_.find(key);
    if (found == next_.end()) {
        return std::unexpected{fmt::format(
            "{}: no counter record of this key: if it has never been used, record it by flowtap-control "
            "--new-keys; otherwise install a new one",
            directory_.string())};
    }
    if (rolled_back_.contains(key)) {
        return std::unexpected{fmt::format(
            "{}: the counter record of this key was rolled back: install a new key", directory_.string())};
    }
    const std::uint64_t first = found->second;
    if (first >= space.end) {
        return std::unexpected{"the key's sequence numbers are used up: install a new one"};
    }
    const std::uint64_t end = end_of_block(first, space);
    found->second = end;
    if (auto saved = save(); !saved) {
        return std::unexpected{saved.error()};
    }
    return lib::Lease{first, end - first};
}

std::uint64_t LeaseStore::next(const KeyDigest& key) const {
    const auto found = next_.find(key);
    return found == next_.end() ? 0 : found->second;
}

bool LeaseStore::check_witness(const KeyDigest& key, std::uint64_t end) {
    const auto found = next_.find(key);
    if (found == next_.end() || rolled_back_.contains(key)) {
        return false;
    }
    if (found->second >= end) {
        return true;
    }
    rolled_back_.insert(key);
    found->second = extended_space.end;
    static_cast<void>(save());  // should this fail too, the key is still refused for as long as we run
    return false;
}

}  // namespace flowtap::control
