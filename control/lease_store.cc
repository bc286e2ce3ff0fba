#include "control/lease_store.h"

#include "control/durable_file.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

namespace flowtap::control {

namespace {

/// Thousands of keys, those that are out of use too.
constexpr std::size_t largest_file = std::size_t{1} << 20;

/// The one line of the marker.
std::optional<std::uint64_t> generation_from(std::string_view text) {
    std::uint64_t value = 0;
    const auto end = text.find('\n');
    const auto* const last = text.data() + (end == std::string_view::npos ? 0 : end);
    const auto [read, error] = std::from_chars(text.data(), last, value);
    if (error != std::errc{} || read != last) {
        return std::nullopt;
    }
    return value;
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
    const auto expected = generation_from(**marked);
    if (!expected) {
        return std::unexpected{
            fmt::format("{}: not a generation number: {}", marker.string(), advice(store.directory_))};
    }
    if (!*content && *expected > 1) {
        return std::unexpected{fmt::format("{} is lost: {}", leases.string(), advice(store.directory_))};
    }
    if (*content) {
        auto loaded = parse_lease_file(**content);
        if (!loaded) {
            return std::unexpected{
                fmt::format("{}: {}: {}", leases.string(), loaded.error(), advice(store.directory_))};
        }
        store.file_ = std::move(*loaded);
    }
    if (store.file_.generation == *expected) {
        return store;
    }
    if (store.file_.generation + 1 != *expected) {
        return std::unexpected{
            fmt::format("{} is of generation {}, but generation {} was written: it was rolled "
                        "back: {}",
                        leases.string(), store.file_.generation, *expected, advice(store.directory_))};
    }
    for (auto& [key, record] : store.file_.keys) {
        // Which space the lost grant was of is not known: the wider block covers both.
        record.next = end_of_block(record.next, extended_space);
    }
    // Under the generation that is marked: a crash in here, too, leaves the two no further apart.
    store.file_.generation = *expected;
    if (auto written = write_durably(leases, write_lease_file(store.file_)); !written) {
        return std::unexpected{written.error()};
    }
    return store;
}

std::expected<void, std::string> LeaseStore::save() {
    if (broken_) {
        return std::unexpected{
            fmt::format("{}: an earlier write failed; restart flowtap-control when the medium "
                        "is well again",
                        directory_.string())};
    }
    LeaseFile next = file_;
    ++next.generation;
    const std::string content = write_lease_file(next);
    if (content.size() > largest_file) {
        return std::unexpected{
            fmt::format("{}: too many keys are on record", (directory_ / "leases").string())};
    }
    if (auto marked = write_durably(directory_ / "leases.generation", fmt::format("{}\n", next.generation));
        !marked) {
        broken_ = true;
        return marked;
    }
    if (auto written = write_durably(directory_ / "leases", content); !written) {
        broken_ = true;
        return written;
    }
    file_.generation = next.generation;
    return {};
}

std::expected<std::size_t, std::string> LeaseStore::record_new(std::span<const KeyDigest> keys) {
    std::size_t fresh = 0;
    for (const auto& key : keys) {
        fresh += file_.keys.try_emplace(key).second ? 1U : 0U;
    }
    if (fresh != 0) {
        if (auto saved = save(); !saved) {
            return std::unexpected{saved.error()};
        }
    }
    return fresh;
}

std::expected<lib::Lease, std::string> LeaseStore::grant(const KeyDigest& key, const SequenceSpace& space,
                                                         std::int64_t utc) {
    const auto found = file_.keys.find(key);
    if (found == file_.keys.end()) {
        return std::unexpected{fmt::format(
            "{}: no counter record of this key: if it has never been used, record it by flowtap-control "
            "--new-keys; otherwise install a new one",
            directory_.string())};
    }
    if (rolled_back_.contains(key)) {
        return std::unexpected{fmt::format(
            "{}: the counter record of this key was rolled back: install a new key", directory_.string())};
    }
    KeyRecord& record = found->second;
    if (record.spent) {
        return std::unexpected{"the key is spent: install a new one"};
    }
    const std::uint64_t first = record.next;
    if (first >= space.end) {
        return std::unexpected{"the key's sequence numbers are used up: install a new one"};
    }
    const std::uint64_t end = end_of_block(first, space);
    record.next = end;
    record.first_use = record.first_use == 0 ? utc : record.first_use;
    if (auto saved = save(); !saved) {
        return std::unexpected{saved.error()};
    }
    return lib::Lease{first, end - first};
}

KeyUse LeaseStore::use(const KeyDigest& key, std::int64_t utc) const {
    const auto found = file_.keys.find(key);
    if (found == file_.keys.end()) {
        return {};
    }
    const KeyRecord& record = found->second;
    const bool begun = record.first_use != 0 && utc > record.first_use;
    const auto age = begun ? static_cast<std::uint64_t>(utc - record.first_use) : 0;
    return {{{std::max(record.seconds, age), record.next - 1, record.bytes}},
            record.first_use != 0,
            record.spent};
}

std::expected<void, std::string> LeaseStore::record(std::span<const UseRecord> uses) {
    bool changed = false;
    for (const auto& use : uses) {
        const auto found = file_.keys.find(use.key);
        if (found == file_.keys.end()) {
            continue;
        }
        const KeyRecord before = found->second;
        KeyRecord& record = found->second;
        record.seconds = std::max(record.seconds, use.seconds);
        record.bytes = std::max(record.bytes, use.bytes);
        record.spent = record.spent || use.spent;
        changed = changed || record != before;
    }
    return changed ? save() : std::expected<void, std::string>{};
}

std::uint64_t LeaseStore::next(const KeyDigest& key) const {
    const auto found = file_.keys.find(key);
    return found == file_.keys.end() ? 0 : found->second.next;
}

bool LeaseStore::check_witness(const KeyDigest& key, std::uint64_t end) {
    const auto found = file_.keys.find(key);
    if (found == file_.keys.end() || rolled_back_.contains(key)) {
        return false;
    }
    if (found->second.next >= end) {
        return true;
    }
    rolled_back_.insert(key);
    found->second.next = extended_space.end;
    static_cast<void>(save());  // should this fail too, the key is still refused for as long as we run
    return false;
}

}  // namespace flowtap::control
