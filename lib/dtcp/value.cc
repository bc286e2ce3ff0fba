#include "lib/dtcp/value.h"

#include <algorithm>

namespace flowtap::lib::dtcp {

std::size_t count_entries(std::string_view value) {
    return static_cast<std::size_t>(std::ranges::count(value, ',')) + 1;
}

std::vector<std::string_view> split_entries(std::string_view value) {
    std::vector<std::string_view> entries;
    entries.reserve(count_entries(value));
    for_each_entry(value, [&entries](std::string_view entry) {
        entries.push_back(entry);
        return true;
    });
    return entries;
}

std::optional<std::string_view> plain(std::string_view part, std::string& storage) {
    if (part.find('\\') == std::string_view::npos) {
        return part;
    }
    auto bytes = unescape(part);
    if (!bytes) {
        return std::nullopt;
    }
    storage = std::move(*bytes);
    return storage;
}

std::optional<std::string> parse_identifier(std::string_view part) {
    std::string storage;
    const auto text = plain(part, storage);
    if (!text || text->empty() || text->size() > max_identifier || !is_utf8(*text) ||
        std::ranges::any_of(*text, [](char byte) { return (byte >= 0 && byte < ' ') || byte == 0x7f; })) {
        return std::nullopt;
    }
    return std::string{*text};
}

std::optional<IpAddress> parse_ip(std::string_view part) {
    std::string storage;
    const auto text = plain(part, storage);
    if (!text) {
        return std::nullopt;
    }
    const auto address = parse_address(*text);
    return address ? std::optional{*address} : std::nullopt;
}

std::unexpected<Failure> fail(Code code, const Parameter* parameter, std::string_view reason) {
    return std::unexpected(
        Failure{code, parameter == nullptr ? std::string{} : std::string{parameter->line}, reason});
}

}  // namespace flowtap::lib::dtcp
