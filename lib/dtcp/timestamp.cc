#include "lib/dtcp/timestamp.h"

#include <algorithm>
#include <cstddef>

namespace flowtap::lib::dtcp {
namespace {

constexpr std::string_view form = "0000-00-00 00:00:00.000";

void put(std::string& text, std::size_t at, std::size_t digits, unsigned number) {
    for (std::size_t i = digits; i-- > 0; number /= 10) {
        text[at + i] = static_cast<char>('0' + number % 10);
    }
}

unsigned get(std::string_view text, std::size_t at, std::size_t digits) {
    unsigned number = 0;
    for (const char digit : text.substr(at, digits)) {
        number = number * 10 + static_cast<unsigned>(digit - '0');
    }
    return number;
}

constexpr Timestamp earliest{
    std::chrono::sys_days{std::chrono::year{0} / std::chrono::January / std::chrono::day{1}}};
constexpr Timestamp latest =
    Timestamp{std::chrono::sys_days{std::chrono::year{10'000} / std::chrono::January / std::chrono::day{1}}} -
    std::chrono::milliseconds{1};

}  // namespace

std::string to_string(Timestamp time) {
    time = std::clamp(time, earliest, latest);
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss clock{time - day};
    std::string text{form};
    put(text, 0, 4, static_cast<unsigned>(static_cast<int>(date.year())));
    put(text, 5, 2, static_cast<unsigned>(date.month()));
    put(text, 8, 2, static_cast<unsigned>(date.day()));
    put(text, 11, 2, static_cast<unsigned>(clock.hours().count()));
    put(text, 14, 2, static_cast<unsigned>(clock.minutes().count()));
    put(text, 17, 2, static_cast<unsigned>(clock.seconds().count()));
    put(text, 20, 3, static_cast<unsigned>(clock.subseconds().count()));
    return text;
}

std::optional<Timestamp> parse_timestamp(std::string_view text) {
    const bool formed =
        text.size() == form.size() && std::ranges::equal(text, form, [](char given, char wanted) {
            return wanted == '0' ? given >= '0' && given <= '9' : given == wanted;
        });
    if (!formed) {
        return std::nullopt;
    }
    const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(get(text, 0, 4))},
                                           std::chrono::month{get(text, 5, 2)},
                                           std::chrono::day{get(text, 8, 2)}};
    const unsigned hours = get(text, 11, 2);
    const unsigned minutes = get(text, 14, 2);
    const unsigned seconds = get(text, 17, 2);
    if (!date.ok() || hours > 23 || minutes > 59 || seconds > 59) {
        return std::nullopt;
    }
    return Timestamp{std::chrono::sys_days{date}} + std::chrono::hours{hours} +
           std::chrono::minutes{minutes} + std::chrono::seconds{seconds} +
           std::chrono::milliseconds{get(text, 20, 3)};
}

}  // namespace flowtap::lib::dtcp
