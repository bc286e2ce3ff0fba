// Size: one class, whose parts all write to the same draft of a request.
#include "test/unit/control/model_requests.h"

#include "test/unit/control/model_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace flowtap::test::model {

namespace {

constexpr std::array timeouts{"TIMEOUT-IDLE", "TIMEOUT-TOTAL", "TIMEOUT-PACKETS", "TIMEOUT-BYTES"};

/// One request on its way to its bytes.
class Draft {
  public:
    Draft(Chance& chance, const Speaker& speaker, const Model& model)
        : chance_{chance}, speaker_{speaker}, model_{model} {
        ask_.source = speaker.source;
        ask_.user = speaker.user;
        ask_.seq = speaker.seq;
    }

    Ask make() {
        const auto dice = chance_.below(1000);
        ask_.verb = speaker_.verb ? *speaker_.verb
                    : dice < 400  ? Verb::add
                    : dice < 540  ? Verb::remove
                    : dice < 700  ? Verb::refresh
                    : dice < 800  ? Verb::list
                    : dice < 850  ? Verb::noop
                    : dice < 920  ? Verb::enable
                    : dice < 990  ? Verb::disable
                                  : Verb::other;
        const auto version = chance_.below(100);
        ask_.minor = version < 70   ? 7
                     : version < 78 ? 5
                     : version < 86 ? 6
                     : version < 98 ? 8
                     : version < 99 ? 4
                                    : 9;
        ask_.major = chance_.below(200) == 0 ? 1 : 0;
        switch (ask_.verb) {
            case Verb::add:
                add();
                break;
            case Verb::remove:
                selector(true);
                static_flag();
                break;
            case Verb::refresh:
                selector(true);
                refresh();
                break;
            case Verb::list:
                if (chance_.percent(40)) {
                    selector(true);
                }
                list_flags();
                break;
            case Verb::noop:
                flags({{"SendAsync", &Ask::async_flag, 30}});
                break;
            case Verb::enable:
            case Verb::disable:
                selector(false);
                policy();
                static_flag();
                break;
            case Verb::other:
                break;
        }
        odd_lines();
        write();
        return std::move(ask_);
    }

  private:
    struct Entry {
        std::string name;
        std::string value;
    };
    struct FlagChoice {
        const char* name;
        bool Ask::* flag;
        unsigned share;
    };

    void put(const std::string& name, std::string value) { entries_.push_back({name, std::move(value)}); }

    void put_number(const std::string& name, std::uint64_t number) {
        ask_.numbers[name] = number;
        put(name, fmt::format("{}", number));
    }

    /// The value is to blame, as soon as it is written down.
    void blame(const std::string& name, std::vector<int> codes) {
        blamed_.emplace_back(name, std::move(codes));
    }

    std::string comma() { return chance_.percent(85) ? "," : chance_.percent(50) ? ", " : " ,"; }

    std::string joined(const std::vector<std::string>& parts) {
        std::string text;
        for (const auto& part : parts) {
            text += text.empty() ? part : comma() + part;
        }
        return text;
    }

    std::string in_some_case(std::string_view word) {
        std::string text{word};
        const auto style = chance_.below(4);
        for (auto& letter : text) {
            const bool lower = style == 0 || (style == 1 && chance_.percent(50));
            const auto byte = static_cast<unsigned char>(letter);
            letter = static_cast<char>(style == 2 ? std::toupper(byte) : lower ? std::tolower(byte) : byte);
        }
        return text;
    }

    void flags(const std::vector<FlagChoice>& choices) {
        std::vector<std::string> words;
        for (const auto& [name, flag, share] : choices) {
            if (chance_.percent(share)) {
                ask_.*flag = true;
                words.push_back(in_some_case(name));
            }
        }
        if (chance_.below(150) == 0) {
            words.emplace_back("Nonsense");
            blame("FLAGS", {501});
        }
        if (!words.empty()) {
            put("FLAGS", joined(words));
        }
    }

    void static_flag() { flags({{"Static", &Ask::static_flag, 55}}); }

    void list_flags() {
        flags({{"Criteria", &Ask::criteria_flag, 15},
               {"Stats", &Ask::stats_flag, 15},
               {"BOTH", &Ask::both_flag, 15}});
    }

    // Selectors

    std::uint64_t some_id() {
        const auto mine = model_.of(speaker_.source);
        const auto dice = chance_.below(100);
        if (dice < 78 && !mine.empty()) {
            return chance_.of(mine);
        }
        if (dice < 88 && !model_.taps().empty()) {
            auto place = model_.taps().begin();
            std::advance(place, chance_.below(model_.taps().size()));
            return place->first;
        }
        if (dice < 95 && !model_.names().empty()) {
            auto place = model_.names().lower_bound(chance_.below(2'147'483'648));
            return place == model_.names().end() ? *model_.names().begin() : *place;
        }
        return chance_.percent(50) ? chance_.below(40) : chance_.below(2'147'483'648);
    }

    void id_list() {
        std::vector<std::string> parts;
        const auto single = [&](std::uint64_t id, bool negated) {
            ask_.ids.push_back({.first = id, .last = id, .negated = negated, .alone = true});
            parts.push_back(fmt::format("{}{}", negated ? "!" : "", id));
        };
        const auto all = [&] {
            ask_.ids.push_back({.whole = true});
            parts.emplace_back("*");
        };
        const auto dice = chance_.below(100);
        if (dice < 70) {
            const auto count = chance_.percent(70) ? 1 : chance_.between(2, 3);
            for (std::uint64_t i = 0; i < count; ++i) {
                single(some_id(), false);
            }
        } else if (dice < 78) {
            all();
            if (chance_.percent(60)) {
                single(some_id(), true);
            }
        } else if (dice < 84) {
            single(some_id(), true);
        } else if (speaker_.plain_ids) {
            all();
            single(some_id(), true);
            single(some_id(), true);
        } else {
            const auto one = some_id();
            const auto two = some_id();
            if (dice < 96) {
                const bool negated = chance_.percent(15);
                const auto shape = chance_.below(3);
                const Wide first = shape == 1 ? 0 : std::min(one, two);
                const Wide last = shape == 2 ? Wide{UINT64_MAX} : std::max(one, two);
                ask_.ids.push_back({.first = first, .last = last, .negated = negated});
                parts.push_back(fmt::format("{}{}-{}", negated ? "!" : "",
                                            shape == 1 ? "*" : fmt::format("{}", std::min(one, two)),
                                            shape == 2 ? "*" : fmt::format("{}", std::max(one, two))));
                if (chance_.percent(30)) {
                    single(some_id(), chance_.percent(70));
                }
            } else if (dice < 98) {
                ask_.ids.push_back({.first = std::max(one, two) + 1, .last = std::min(one, two)});
                parts.push_back(fmt::format("{}-{}", std::max(one, two) + 1, std::min(one, two)));
            } else {
                parts.emplace_back(chance_.of({"abc", "1.5", "-", "0x10", "99999999999999999999", "*-*"}));
                blame("CRITERIA-ID", {400});
            }
        }
        put("CRITERIA-ID", joined(parts));
    }

    void selector(bool may_be_cdest) {
        const auto dice = chance_.below(100);
        if (dice < 1) {
            return;
        }
        const bool by_cdest = may_be_cdest && dice < 25;
        if (!by_cdest || dice < 2) {
            id_list();
        }
        if (by_cdest) {
            ask_.cdests = {std::string{some_cdest()}};
            if (chance_.below(50) == 0) {
                ask_.cdests.emplace_back("cd2");
            }
            put("CDEST-ID", cdest_text());
        }
    }

    void policy() {
        if (chance_.below(60) != 0) {
            const std::string name{chance_.below(25) == 0 ? "nothing" : chance_.of({"web", "dns", "v6"})};
            ask_.words["X-DROP-POLICY"] = {name};
            put("X-DROP-POLICY", name);
        }
    }

    void some_timeouts(unsigned share) {
        for (const auto* const name : timeouts) {
            if (!chance_.percent(share)) {
                continue;
            }
            const std::string_view which = name;
            const bool seconds = which == "TIMEOUT-IDLE" || which == "TIMEOUT-TOTAL";
            const auto dice = chance_.below(100);
            if (dice < 8) {
                put_number(name, 0);
            } else if (dice < 10 && seconds) {
                put_number(name, chance_.between(86'401, 100'000));
            } else if (dice < 11 && !ask_.static_flag) {
                put(name, std::string{chance_.of({"12a", "", "-5", "99999999999999999999", "1 2"})});
                blame(name, {433, 400});
            } else if (seconds) {
                put_number(name, chance_.percent(70) ? chance_.between(1, 25) : chance_.between(26, 86'400));
            } else if (which == "TIMEOUT-PACKETS") {
                put_number(name, chance_.between(1, 40));
            } else {
                put_number(name, chance_.between(60, 20'000));
            }
        }
    }

    void refresh() {
        some_timeouts(45);
        if (chance_.below(60) == 0) {
            put("FLAGS", "Static");
            blame("FLAGS", {501});
        }
    }

    // ADD

    std::string_view some_cdest() { return chance_.of({"cd", "cd", "md1", "md2", "known", "theirs"}); }

    std::string cdest_text() {
        std::vector<std::string> parts;
        for (const auto& cdest : ask_.cdests) {
            // An escaped byte is that byte.
            parts.push_back(chance_.percent(8) ? fmt::format("{}\\{:03}", cdest.substr(0, cdest.size() - 1),
                                                             static_cast<unsigned>(cdest.back()))
                                               : cdest);
        }
        return joined(parts);
    }

    void add() {
        flags({{"Static", &Ask::static_flag, 45}, {"SendAsync", &Ask::async_flag, 25}});
        some_timeouts(ask_.static_flag ? 10 : 42);
        cdests();
        filter();
        options();
    }

    void cdests() {
        if (chance_.below(100) == 0) {
            return;
        }
        const auto dice = chance_.below(100);
        const auto count = dice < 80 ? 1 : dice < 98 ? chance_.between(2, 3) : dice < 99 ? 16 : 17;
        while (ask_.cdests.size() < count) {
            const std::string cdest{count > 3 ? fmt::format("n{}", ask_.cdests.size()) : some_cdest()};
            if (std::ranges::find(ask_.cdests, cdest) == ask_.cdests.end()) {
                ask_.cdests.push_back(cdest);
            }
        }
        put("CDEST-ID", cdest_text());
        if (chance_.percent(10)) {
            return;
        }
        const bool six = speaker_.source == 0 && chance_.percent(12);
        const unsigned complete = chance_.percent(92) ? 100 : 60;
        cdest_list("X-JTAP-CDEST-DEST-ADDRESS", complete, true, [&] { return destination(six); });
        cdest_list("X-JTAP-CDEST-DEST-PORT", complete, true,
                   [&] { return fmt::format("{}", chance_.between(1, 65'535)); });
        cdest_list("X-JTAP-CDEST-SOURCE-ADDRESS", complete, false, [&] {
            return (six ? "2001:db8:5::" : "203.0.113.") + fmt::format("{}", chance_.between(1, 9));
        });
        cdest_list("X-JTAP-CDEST-SOURCE-PORT", complete, false,
                   [&] { return fmt::format("{}", chance_.between(1, 65'535)); });
        cdest_list("X-JTAP-CDEST-TTL", 10, false, [&] { return fmt::format("{}", chance_.between(1, 255)); });
    }

    std::string destination(bool six) {
        if (six) {
            return fmt::format("2001:db8:f{}::{:x}", chance_.percent(95) ? "" : ":1",
                               chance_.between(1, 0xffff));
        }
        if (chance_.below(40) == 0) {
            return std::string{chance_.of({"192.0.2.200", "198.51.100.9", "192.0.2.77", "10.9.9.9"})};
        }
        const auto last = speaker_.source == 0   ? chance_.between(0, 15)
                          : speaker_.source == 1 ? chance_.between(64, 127)
                                                 : chance_.between(0, 255);
        return fmt::format("192.0.2.{}", last);
    }

    template <typename Make>
    void cdest_list(const std::string& name, unsigned share, bool each, Make make) {
        if (!chance_.percent(share)) {
            return;
        }
        auto count = ask_.cdests.size();
        if (!each && chance_.percent(50)) {
            count = 1;
        } else if (chance_.below(80) == 0) {
            ++count;
        }
        auto& words = ask_.words[name];
        while (words.size() < count) {
            words.push_back(make());
        }
        if (chance_.below(150) == 0) {
            words.back() = chance_.of({"192.0.2.300", "70000", "x", ""});
            // More wrong lists than one: the count of one may be named before the value of the other.
            blame(name, {400});
        }
        put(name, joined(words));
    }

    void options() {
        if (chance_.percent(12)) {
            put_number("PRIORITY",
                       chance_.below(20) == 0 ? (chance_.percent(50) ? 0 : 256) : chance_.between(1, 255));
        }
        if (chance_.percent(8)) {
            const std::string action{
                chance_.of({"copy", "copy", "redirect", "redirect", "block", "block", "drop"})};
            ask_.words["ACTION"] = {action};
            put("ACTION", in_some_case(action));
        }
        word("X-JTAP-VRF-NAME", 4, {"red", "red", "red", "blue"});
        interfaces("X-JTAP-INPUT-INTERFACE", 6);
        interfaces("X-JTAP-OUTPUT-INTERFACE", 5);
        word("X-INTERFACE-ID", 3, {"ge-0", "ge-0.100", "ge-7.3", "trunk", "xe-9"});
        word("X-MD-INTERCEPT-ID", 6, {"1", "0xabcd", "0123456789abcdef", "0x41414141"});
        word("X-USERNAME", 1, {"u"});
        word("X-ACT-SESS-ID", 1, {"17"});
        if (chance_.percent(ask_.words.contains("X-JTAP-INPUT-INTERFACE") ? 30 : 1)) {
            ask_.words["X-JTAP-FILTER-FAMILY"] = {"ccc"};
            put("X-JTAP-FILTER-FAMILY", in_some_case("ccc"));
        }
    }

    void word(const std::string& name, unsigned share, std::initializer_list<std::string_view> values) {
        if (chance_.percent(share)) {
            ask_.words[name] = {std::string{chance_.of(values)}};
            put(name, ask_.words[name].front());
        }
    }

    void interfaces(const std::string& name, unsigned share) {
        if (!chance_.percent(share)) {
            return;
        }
        auto& words = ask_.words[name];
        do {
            words.emplace_back(chance_.below(20) == 0
                                   ? chance_.of({"xe-9", "ge-7", "d", "b.4000.1"})
                                   : chance_.of({"ge-0", "ge-0.100", "ge-7.3", "trunk", "b.5"}));
        } while (chance_.percent(25) && words.size() < 8);
        put(name, joined(words));
    }

    // Filter

    void filter() {
        if (chance_.percent(3)) {
            return;  // everything
        }
        const int family = ask_.minor >= 7 && chance_.percent(20) ? 6 : chance_.below(60) == 0 ? 6 : 4;
        if (chance_.percent(70)) {
            addresses("SOURCE-ADDRESS", family);
        }
        if (chance_.percent(25)) {
            addresses("DEST-ADDRESS", chance_.below(40) == 0 ? 10 - family : family);
        }
        if (chance_.percent(6)) {
            ask_.words["X-IP-ADDR"] = {address_text(address(family), family)};
            put("X-IP-ADDR", ask_.words["X-IP-ADDR"].front());
        }
        if (chance_.percent(family == 6 ? 30 : 2)) {
            const std::string version = family == 6 ? "ipv6" : "ipv4";
            ask_.words["X-JTAP-IP-VERSION"] = {version};
            put("X-JTAP-IP-VERSION", in_some_case(version));
        }
        if (chance_.percent(30)) {
            numbers(
                "PROTOCOL", 255,
                chance_.percent(70) ? std::vector<std::uint64_t>{6, 17} : std::vector<std::uint64_t>{1, 58});
        }
        const auto dice = chance_.below(100);
        if (dice < 20) {
            numbers("DEST-PORT", 65'535, {53, 80, 443});
        }
        if (dice > 12 && dice < 25) {
            numbers("SOURCE-PORT", 65'535, {1024, 5060});
        }
        if (dice >= 95) {
            numbers("ICMP-TYPE", 255, {0, 8});
        }
        if (dice >= 97) {
            numbers("ICMP-CODE", 255, {0, 1});
        }
    }

    Wide address(int family) {
        const Wide base = family == 4 ? Wide{0x0a00'0000} : Wide{0x2001'0db8} << 96;
        return base + chance_.below(chance_.percent(50) ? 16 : 0xff'ffff);
    }

    void addresses(const std::string& name, int family) {
        std::vector<std::string> parts;
        auto& spans = ask_.elements[name];
        do {
            Span span{.negated = chance_.percent(15), .family = family};
            const Wide one = address(family);
            const Wide two = address(family);
            const auto low = std::min(one, two);
            const auto high = std::max(one, two);
            std::string text;
            const auto dice = chance_.below(100);
            if (dice < 60) {
                span.first = span.last = one;
                span.alone = true;
                text = address_text(one, family);
            } else if (dice < 75) {
                const auto bits = chance_.between(0, family == 4 ? 24 : 64);
                const Wide mask = (Wide{1} << bits) - 1;
                span.first = one & ~mask;
                span.last = span.first | mask;
                text =
                    fmt::format("{}/{}", address_text(span.first, family), (family == 4 ? 32 : 128) - bits);
            } else if (dice < 87) {
                span.first = low;
                span.last = high;
                text = address_text(low, family) + "-" + address_text(high, family);
            } else if (dice < 91) {
                span.first = low;
                span.last = highest(family);
                text = address_text(low, family) + "-*";
            } else if (dice < 95) {
                span.last = low;
                text = "*-" + address_text(low, family);
            } else if (dice < 98) {
                span.whole = true;
                span.family = 0;
                text = "*";
            } else {
                span.first = high + 1;
                span.last = low;
                text = address_text(high + 1, family) + "-" + address_text(low, family);
            }
            parts.push_back((span.negated ? "!" : "") + text);
            spans.push_back(span);
        } while (chance_.percent(25));
        if (chance_.below(150) == 0) {
            parts.emplace_back(chance_.of({"10.0.0", "10.0.0.0/33", "10.0.0.256", "::g", "", "*-*"}));
            blame(name, {432, 400});
        }
        put(name, joined(parts));
    }

    void numbers(const std::string& name, std::uint64_t most, const std::vector<std::uint64_t>& usual) {
        std::vector<std::string> parts;
        auto& spans = ask_.elements[name];
        do {
            Span span{.negated = chance_.percent(12)};
            const auto one = chance_.percent(80) ? chance_.of(usual) : chance_.below(most + 1);
            const auto two = chance_.below(most + 1);
            const auto dice = chance_.below(100);
            std::string text;
            span.first = span.last = one;
            if (dice < 70) {
                text = fmt::format("{}", one);
            } else if (dice < 85) {
                span.first = std::min(one, two);
                span.last = std::max(one, two);
                text = fmt::format("{}-{}", std::min(one, two), std::max(one, two));
            } else if (dice < 90) {
                span.last = most;
                text = fmt::format("{}-*", one);
            } else if (dice < 94) {
                span.first = 0;
                text = fmt::format("*-{}", one);
            } else if (dice < 96 && name == "PROTOCOL") {
                span.whole = true;
                text = "*";
            } else if (dice < 98) {
                span.first = span.last = most + 1;
                text = fmt::format("{}", most + 1);
            } else {
                span.first = one + 1;
                text = fmt::format("{}-{}", one + 1, one);
            }
            parts.push_back((span.negated ? "!" : "") + text);
            spans.push_back(span);
        } while (chance_.percent(20));
        put(name, joined(parts));
    }

    // Lines

    /// What any client may add to any request.
    void odd_lines() {
        for (std::size_t i = entries_.size(); i > 1; --i) {
            std::swap(entries_[i - 1], entries_[chance_.below(i)]);
        }
        if (chance_.percent(5)) {
            put("X-VENDOR-THING", "42");
        }
        if (chance_.below(100) == 0) {
            put("COLOUR", "red");
            blame("COLOUR", {501});
        }
        if (!entries_.empty() && chance_.percent(5)) {
            // Given twice: the first counts.
            const auto again = chance_.of(entries_).name;
            put(again, "77");
        }
    }

    void write() {
        static constexpr std::array methods{"ADD", "DELETE", "REFRESH", "LIST", "NOOP", "ENABLE", "DISABLE"};
        const auto verb = static_cast<std::size_t>(ask_.verb);
        const std::string_view end = chance_.percent(85) ? "\r\n" : "\n";
        const auto& sources = setup().sources;
        const auto& name = sources[static_cast<std::size_t>(speaker_.source)].name;
        ask_.first_line = fmt::format("{} DTCP/{}.{}", verb < methods.size() ? methods[verb] : "FETCH",
                                      ask_.major, ask_.minor);
        ask_.bytes = ask_.first_line + std::string{end};
        const auto rejection = speaker_.may_be_rejected && chance_.below(25) == 0 ? chance_.between(1, 4) : 0;
        if (rejection == 1) {
            ask_.source = -1;
        }
        if (rejection != 1 || chance_.percent(50)) {
            entries_.insert(
                entries_.begin() + static_cast<std::ptrdiff_t>(chance_.below(entries_.size() + 1)),
                {"CSOURCE-ID", rejection == 1 ? "nobody" : name});
        }
        if (ask_.seq) {
            entries_.insert(
                entries_.begin() + static_cast<std::ptrdiff_t>(chance_.below(entries_.size() + 1)),
                {"SEQ", fmt::format("{}", *ask_.seq)});
        }
        for (const auto& [canonical, value] : entries_) {
            const auto separator = chance_.percent(80) ? ": " : chance_.of({":", ":  ", " : ", "\t:\t "});
            const auto text = in_some_case(canonical) + std::string{separator} + value;
            const auto line = text.substr(0, text.find_last_not_of(" \t") + 1);
            ask_.lines.emplace(canonical, Line{value, line});
            ask_.bytes += line;
            ask_.bytes += chance_.percent(5) ? " " : "";
            ask_.bytes += end;
        }
        if (chance_.below(150) == 0) {
            const std::string line{chance_.of({"this is no parameter", " folded", "9", "a b: c"})};
            ask_.wrong.push_back({400, {line}});
            ask_.bytes += line + std::string{end};
        }
        for (const auto& [blamed, codes] : blamed_) {
            for (const int code : codes) {
                ask_.wrong.push_back({code, {ask_.text_of(blamed)}});
            }
        }
        sign(rejection, "key-" + name, end);
    }

    void sign(std::uint64_t rejection, const std::string& key, std::string_view end) {
        ask_.authentic = rejection < 2;
        if (rejection != 2) {
            const auto digest = signature(rejection == 3 ? "key" : key, ask_.bytes);
            ask_.bytes += in_some_case("Authentication-Info") + ": " + digest + std::string{end};
        }
        if (rejection == 4) {
            auto& byte = ask_.bytes[ask_.bytes.find("TP/") + 3];
            byte = byte == '0' ? '3' : '0';
        }
        if (rejection != 2 && chance_.percent(4)) {
            ask_.bytes += "Cdest-ID: whatever follows" + std::string{end};
        }
        ask_.bytes += end;
    }

    Chance& chance_;
    const Speaker& speaker_;
    const Model& model_;
    Ask ask_;
    std::vector<Entry> entries_;
    std::vector<std::pair<std::string, std::vector<int>>> blamed_;
};

}  // namespace

Ask make_request(Chance& chance, const Speaker& speaker, const Model& model) {
    return Draft{chance, speaker, model}.make();
}

}  // namespace flowtap::test::model
