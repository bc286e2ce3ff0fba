#include "control/sources.h"

#include "lib/secret.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

namespace flowtap::control {

namespace {

/// What Junos clients are all given: over SSH, which has proven who they are.
constexpr std::string_view well_known_key = "Juniper";

/// The key in a file's bytes: all but one final line end.
std::span<const std::uint8_t> without_line_end(std::span<const std::uint8_t> bytes) {
    if (!bytes.empty() && bytes.back() == '\n') {
        bytes = bytes.first(bytes.size() - 1);
        if (!bytes.empty() && bytes.back() == '\r') {
            bytes = bytes.first(bytes.size() - 1);
        }
    }
    return bytes;
}

}  // namespace

std::expected<Sources, std::vector<std::string>> Sources::load(const lib::Config& config) {
    Sources sources;
    std::vector<std::string> errors;
    for (const auto& source : config.sources) {
        const auto secret = lib::read_secret_file(source.key_file);
        if (!secret) {
            errors.push_back(secret.error());
            continue;
        }
        const auto bytes = without_line_end(secret->bytes());
        if (source.udp && std::ranges::equal(bytes, well_known_key)) {
            errors.push_back(
                fmt::format("{}: the well-known key proves nothing on UDP: another one is needed, or "
                            "no `udp = true` for its source",
                            source.key_file.string()));
            continue;
        }
        auto key = lib::dtcp::Hmac::create(bytes);
        if (!key) {
            errors.push_back(fmt::format("{}: {}", source.key_file.string(), key.error()));
            continue;
        }
        const auto index = SourceIndex{static_cast<std::uint32_t>(sources.sources_.size())};
        sources.by_name_.emplace(source.name, index);
        sources.sources_.push_back({index, &source, std::move(*key)});
    }
    if (!errors.empty()) {
        return std::unexpected{std::move(errors)};
    }
    return sources;
}

std::expected<Sources, std::vector<std::string>> Sources::with_keys(const lib::Config& config,
                                                                    const std::vector<std::string>& keys) {
    Sources sources;
    for (std::size_t i = 0; i < config.sources.size(); ++i) {
        const auto* const bytes = reinterpret_cast<const std::uint8_t*>(keys.at(i).data());
        auto key = lib::dtcp::Hmac::create({bytes, keys[i].size()});
        if (!key) {
            return std::unexpected{std::vector{key.error()}};
        }
        const auto index = SourceIndex{static_cast<std::uint32_t>(i)};
        sources.by_name_.emplace(config.sources[i].name, index);
        sources.sources_.push_back({index, &config.sources[i], std::move(*key)});
    }
    return sources;
}

Source* Sources::find(std::string_view csource_id) {
    const auto found = by_name_.find(csource_id);
    return found == by_name_.end() ? nullptr : &at(found->second);
}

bool Sources::may_speak(const Source& source, std::string_view user) {
    return std::ranges::find(source.config->users, user) != source.config->users.end();
}

}  // namespace flowtap::control
