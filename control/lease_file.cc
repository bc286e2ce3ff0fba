#include "control/lease_file.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <charconv>
#include <concepts>
#include <optional>
#include <span>
#include <vector>

namespace flowtap::control {

namespace {

constexpr std::string_view counters_only = "flowtap-leases 1";
constexpr std::string_view first_line = "flowtap-leases 2";

std::string hex(std::span<const std::uint8_t> bytes) {
    std::string text;
    for (const auto byte : bytes) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

template <std::integral Number>
bool read_number(std::string_view text, Number& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size();
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
    static_cast<void>(
        ::EVP_Digest(content.data(), content.size(), digest.data(), nullptr, ::EVP_sha256(), nullptr));
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

std::vector<std::string_view> words(std::string_view line) {
    std::vector<std::string_view> result;
    for (;;) {
        const auto end = line.find(' ');
        result.push_back(line.substr(0, end));
        if (end == std::string_view::npos) {
            return result;
        }
        line.remove_prefix(end + 1);
    }
}

/// DIGEST NEXT, and in this version FIRST-USE SECONDS BYTES and "open" or "spent".
bool read_record(std::string_view line, bool whole, LeaseFile& file) {
    const auto fields = words(line);
    if (fields.size() != (whole ? 6 : 2)) {
        return false;
    }
    const auto key = digest_from(fields[0]);
    KeyRecord record;
    if (!key || !read_number(fields[1], record.next) || record.next < 1) {
        return false;
    }
    if (whole) {
        record.spent = fields[5] == "spent";
        if (!read_number(fields[2], record.first_use) || !read_number(fields[3], record.seconds) ||
            !read_number(fields[4], record.bytes) || (!record.spent && fields[5] != "open")) {
            return false;
        }
    }
    file.keys[*key] = record;
    return true;
}

}  // namespace

std::string write_lease_file(const LeaseFile& file) {
    std::string content = fmt::format("{}\ngeneration {}\n", first_line, file.generation);
    for (const auto& [key, record] : file.keys) {
        content += fmt::format("{} {} {} {} {} {}\n", hex(key), record.next, record.first_use, record.seconds,
                               record.bytes, record.spent ? "spent" : "open");
    }
    return content + sha256_line(content);
}

std::expected<LeaseFile, std::string> parse_lease_file(std::string_view content) {
    const auto tail = content.rfind("sha256 ");
    if (tail == std::string_view::npos || sha256_line(content.substr(0, tail)) != content.substr(tail)) {
        return std::unexpected{"damaged (its digest does not match)"};
    }
    content = content.substr(0, tail);
    LeaseFile file;
    std::string_view line;
    if (!next_line(content, line) || (line != first_line && line != counters_only)) {
        return std::unexpected{fmt::format("does not start with '{}'", first_line)};
    }
    const bool whole = line == first_line;
    constexpr std::string_view generation = "generation ";
    if (!next_line(content, line) || !line.starts_with(generation) ||
        !read_number(line.substr(generation.size()), file.generation)) {
        return std::unexpected{"has no generation"};
    }
    while (next_line(content, line)) {
        if (!read_record(line, whole, file)) {
            return std::unexpected{"has a line that is no record"};
        }
    }
    return file;
}

}  // namespace flowtap::control
