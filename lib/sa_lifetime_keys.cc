#include "lib/sa_lifetime_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace flowtap::lib {
namespace {

std::string key_of(std::string_view kind, std::size_t unit) {
    return fmt::format("{}-lifetime-{}", kind, life_units[unit]);
}

}  // namespace

std::vector<std::string> lifetime_keys() {
    std::vector<std::string> keys;
    for (const std::string_view kind : {"soft", "hard"}) {
        for (std::size_t unit = 0; unit < life_units.size(); ++unit) {
            keys.push_back(key_of(kind, unit));
        }
    }
    return keys;
}

SaLifetimes read_lifetimes(const toml::table& table, const LifeSpan& longest,
                           const std::function<void(const toml::source_position&, std::string)>& complain) {
    SaLifetimes written;
    const auto read = [&](const std::string& key, std::uint64_t most, std::uint64_t& value) {
        const toml::node* const node = table.get(key);
        if (node == nullptr) {
            return;
        }
        const auto number = node->value_exact<std::int64_t>();
        if (!number || *number < 1 || std::cmp_greater(*number, most)) {
            const auto range = most > INT64_MAX ? std::string{"1 or more"} : fmt::format("1 to {}", most);
            complain(node->source().begin, fmt::format("{} has to be an integer, {}", key, range));
            return;
        }
        value = static_cast<std::uint64_t>(*number);
    };
    for (std::size_t unit = 0; unit < life_units.size(); ++unit) {
        const auto most = longest.values[unit];
        auto& soft = written.soft.values[unit];
        auto& hard = written.hard.values[unit];
        read(key_of("hard", unit), most, hard);
        read(key_of("soft", unit), most, soft);
        if (const auto end = std::min(hard, most); soft != no_limit && soft >= end) {
            complain(table.get(key_of("soft", unit))->source().begin,
                     fmt::format("{} is {}: it has to be less than the hard lifetime, {}",
                                 key_of("soft", unit), soft, end));
        }
    }
    return complete(written, longest);
}

}  // namespace flowtap::lib
