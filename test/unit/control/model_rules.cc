// Which code a request deserves (dtcp.md sections 4 to 7, 9), and what a good ADD asks for.
#include "test/unit/control/model.h"
#include "test/unit/control/model_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

namespace flowtap::test::model {

namespace {

constexpr std::array timeouts{"TIMEOUT-IDLE", "TIMEOUT-TOTAL", "TIMEOUT-PACKETS", "TIMEOUT-BYTES"};
constexpr std::array address_elements{"SOURCE-ADDRESS", "DEST-ADDRESS"};
constexpr std::array number_elements{"PROTOCOL", "SOURCE-PORT", "DEST-PORT", "ICMP-TYPE", "ICMP-CODE"};
constexpr std::array cdest_lists{"X-JTAP-CDEST-DEST-ADDRESS", "X-JTAP-CDEST-DEST-PORT",
                                 "X-JTAP-CDEST-SOURCE-ADDRESS", "X-JTAP-CDEST-SOURCE-PORT"};
constexpr std::array place_names{"X-JTAP-VRF-NAME", "X-JTAP-INPUT-INTERFACE", "X-JTAP-OUTPUT-INTERFACE"};
constexpr std::array<Wide, 5> port_protocols{6, 17, 132, 136, 33};
constexpr std::array<Wide, 2> icmp_protocols{1, 58};

Wide most_of(std::string_view element) {
    return element == "SOURCE-PORT" || element == "DEST-PORT" ? 65'535 : 255;
}

const Spans& spans_of(const Ask& ask, const std::string& name) {
    static const Spans none;
    const auto found = ask.elements.find(name);
    return found == ask.elements.end() ? none : found->second;
}

bool within(const Spans& prefixes, const std::string& address) {
    const auto [value, family] = address_value(address);
    return std::ranges::any_of(prefixes, [&, value = value, family = family](const Span& span) {
        return span.family == family && span.first <= value && value <= span.last;
    });
}

std::string action_of(const Ask& ask) {
    return ask.has("ACTION") ? ask.words.at("ACTION").front() : "copy";
}

/// "drop" is nobody's.
bool may_use(int source, const std::string& action) {
    return setup().sources[static_cast<std::size_t>(source)].actions.contains(action);
}

/// The family that the request says its criterion is of; 0: it does not.
std::set<int> families_of(const Ask& ask) {
    std::set<int> families;
    for (const auto* const name : address_elements) {
        for (const auto& span : spans_of(ask, name)) {
            families.insert(span.family);
        }
    }
    if (const auto found = ask.words.find("X-JTAP-IP-VERSION"); found != ask.words.end()) {
        families.insert(found->second.front() == "ipv6" ? 6 : 4);
    }
    if (const auto found = ask.words.find("X-IP-ADDR"); found != ask.words.end()) {
        families.insert(address_value(found->second.front()).second);
    }
    families.erase(0);
    return families;
}

void judge_timeouts(const Ask& ask, Blames& blames) {
    for (const auto* const name : {"TIMEOUT-IDLE", "TIMEOUT-TOTAL"}) {
        if (const auto given = ask.numbers.find(name); given != ask.numbers.end() && given->second > 86'400) {
            blames.push_back({433, {ask.text_of(name)}});
        }
    }
}

std::vector<std::string> lines_of(const Ask& ask, const auto& names) {
    std::vector<std::string> lines;
    for (const auto* const name : names) {
        if (ask.has(name)) {
            lines.push_back(ask.text_of(name));
        }
    }
    return lines;
}

bool admits_any(const Ask& ask, const auto& protocols) {
    const auto set = selected(spans_of(ask, "PROTOCOL"), 255);
    return std::ranges::any_of(protocols, [&](Wide protocol) { return holds(set, protocol); });
}

void judge_filter(const Ask& ask, Blames& blames) {
    for (const auto* const name : address_elements) {
        for (const auto& span : spans_of(ask, name)) {
            if (span.first > span.last) {
                blames.push_back({432, {ask.text_of(name)}});
            }
        }
    }
    for (const auto* const name : number_elements) {
        for (const auto& span : spans_of(ask, name)) {
            if (span.first > span.last || span.last > most_of(name)) {
                blames.push_back({432, {ask.text_of(name)}});
            }
        }
    }
    const auto families = families_of(ask);
    const std::array speaking{"SOURCE-ADDRESS", "DEST-ADDRESS", "X-JTAP-IP-VERSION", "X-IP-ADDR"};
    if (families.size() > 1 || (families.contains(6) && ask.minor < 7)) {
        blames.push_back({432, lines_of(ask, speaking)});
    }
    const bool ports = ask.has("SOURCE-PORT") || ask.has("DEST-PORT");
    const bool icmp = ask.has("ICMP-TYPE") || ask.has("ICMP-CODE");
    if ((ports && !admits_any(ask, port_protocols)) ||
        (icmp && (ports || !admits_any(ask, icmp_protocols)))) {
        blames.push_back({432, lines_of(ask, number_elements)});
    }
    if (ask.has("X-JTAP-FILTER-FAMILY")) {
        if (ask.minor < 8) {
            blames.push_back({501, {ask.text_of("X-JTAP-FILTER-FAMILY")}});
        }
        const std::array elements{"SOURCE-ADDRESS", "DEST-ADDRESS", "PROTOCOL",  "SOURCE-PORT",
                                  "DEST-PORT",      "ICMP-TYPE",    "ICMP-CODE", "X-IP-ADDR"};
        std::vector<std::string> lines;
        for (const auto* const name : elements) {
            if (ask.has(name) && ask.lines.at(name).value != "*") {
                lines.push_back(ask.text_of(name));
            }
        }
        if (!lines.empty()) {
            blames.push_back({432, std::move(lines)});
        }
        if (!ask.has("X-JTAP-INPUT-INTERFACE") && !ask.has("X-JTAP-OUTPUT-INTERFACE")) {
            blames.push_back({901, {ask.text_of("X-JTAP-FILTER-FAMILY")}});
        }
    }
}

void judge_places(const Ask& ask, Blames& blames) {
    auto lines = lines_of(ask, place_names);
    if (ask.has("X-INTERFACE-ID")) {
        lines.push_back(ask.text_of("X-INTERFACE-ID"));
        if (!setup().inputs.contains(ask.words.at("X-INTERFACE-ID").front())) {
            blames.push_back({901, {lines.back()}});
        }
    }
    if (lines.size() > 1) {
        blames.push_back({432, lines});
    }
    if (ask.has("X-JTAP-VRF-NAME") && !setup().vrfs.contains(ask.words.at("X-JTAP-VRF-NAME").front())) {
        blames.push_back({901, {ask.text_of("X-JTAP-VRF-NAME")}});
    }
    for (const auto* const name : {"X-JTAP-INPUT-INTERFACE", "X-JTAP-OUTPUT-INTERFACE"}) {
        if (ask.has(name) && !std::ranges::all_of(ask.words.at(name), [](const std::string& interface) {
                return setup().inputs.contains(interface);
            })) {
            blames.push_back({901, {ask.text_of(name)}});
        }
    }
}

/// Entry `i` of a list; a list of one, where the document asks for one only, is for all.
std::optional<std::string> entry(const Ask& ask, const char* name, std::size_t i) {
    const auto found = ask.words.find(name);
    if (found == ask.words.end()) {
        return std::nullopt;
    }
    return found->second.size() == 1 ? found->second.front() : found->second.at(i);
}

/// The configured destination of that name, if the source may deliver there.
const DestinationSetup* configured(const Ask& ask, const std::string& cdest) {
    const auto found = setup().destinations.find(cdest);
    const auto& allowed = setup().sources[static_cast<std::size_t>(ask.source)].allowed;
    return found != setup().destinations.end() && within(allowed, found->second.to) ? &found->second
                                                                                    : nullptr;
}

void judge_destinations(const Ask& ask, Blames& blames) {
    for (const auto* const name :
         {cdest_lists[0], cdest_lists[1], cdest_lists[2], cdest_lists[3], "X-JTAP-CDEST-TTL"}) {
        const bool each = std::string_view{name}.starts_with("X-JTAP-CDEST-DEST");
        if (ask.has(name) && ask.words.at(name).size() != ask.cdests.size() &&
            (each || ask.words.at(name).size() != 1)) {
            blames.push_back({432, {ask.text_of(name)}});
        }
    }
    if (!blames.empty()) {
        return;  // which entry is whose is not known
    }
    for (std::size_t i = 0; i < ask.cdests.size(); ++i) {
        const auto* const known = configured(ask, ask.cdests[i]);
        const auto given = lines_of(ask, cdest_lists).size();
        if (known == nullptr && given == 0) {
            blames.push_back({430, {ask.text_of("CDEST-ID")}, true});
            continue;
        }
        if (known == nullptr && given < cdest_lists.size()) {
            blames.push_back({.code = 901});
        }
        const auto to = entry(ask, "X-JTAP-CDEST-DEST-ADDRESS", i).value_or(known ? known->to : "");
        const auto from = entry(ask, "X-JTAP-CDEST-SOURCE-ADDRESS", i).value_or(known ? known->from : "");
        const auto& allowed = setup().sources[static_cast<std::size_t>(ask.source)].allowed;
        if (!to.empty() && (!within(allowed, to) || !within(setup().routes, to))) {
            blames.push_back({901, {ask.text_of("X-JTAP-CDEST-DEST-ADDRESS")}});
        }
        const int family = address_value(to).second;
        const int from_family = address_value(from).second;
        const bool differ = !to.empty() && !from.empty() && family != from_family;
        if (differ || (ask.minor < 7 && (family == 6 || from_family == 6))) {
            blames.push_back(
                {901,
                 {ask.text_of("X-JTAP-CDEST-DEST-ADDRESS"), ask.text_of("X-JTAP-CDEST-SOURCE-ADDRESS")},
                 true});
        }
    }
}

std::string numbers_text(const Ask& ask, const char* name, bool naming) {
    // Naming ports, or types and codes of ICMP, leaves other protocols out, whatever the list.
    const bool named = naming && ask.has(name);
    return fmt::format("{}{}", named ? "named " : "", set_text(selected(spans_of(ask, name), most_of(name))));
}

std::string places_text(const Ask& ask) {
    std::set<std::string> places;
    if (ask.has("X-JTAP-VRF-NAME")) {
        const auto& terms = setup().vrfs.at(ask.words.at("X-JTAP-VRF-NAME").front());
        places.insert(terms.begin(), terms.end());
    }
    const auto take = [&](const char* name, bool in, bool out) {
        if (ask.has(name)) {
            for (const auto& interface : ask.words.at(name)) {
                if (in) {
                    places.insert(setup().inputs.at(interface));
                }
                if (out) {
                    places.insert(setup().outputs.at(interface));
                }
            }
        }
    };
    take("X-JTAP-INPUT-INTERFACE", true, false);
    take("X-JTAP-OUTPUT-INTERFACE", false, true);
    take("X-INTERFACE-ID", true, true);
    std::string text;
    for (const auto& place : places) {
        text += place + ';';
    }
    return text;
}

std::string criterion_of(const Ask& ask) {
    const auto families = families_of(ask);
    const int family = families.empty() ? 4 : *families.begin();
    const auto from = selected(spans_of(ask, "SOURCE-ADDRESS"), highest(family));
    const auto to = selected(spans_of(ask, "DEST-ADDRESS"), highest(family));
    std::string rest;
    for (const auto* const name : number_elements) {
        rest += fmt::format(" {}", numbers_text(ask, name, std::string_view{name} != "PROTOCOL"));
    }
    rest += fmt::format(" at {}{}", places_text(ask), ask.has("X-JTAP-FILTER-FAMILY") ? " frames" : "");
    if (ask.has("X-IP-ADDR")) {
        const auto address = address_value(ask.words.at("X-IP-ADDR").front()).first;
        rest += fmt::format(" with {}", address_text(address, family));
    }
    return fmt::format("ipv{} {} to {}{}", family, set_text(from), set_text(to), rest);
}

/// Eight bytes, as two words; four bytes leave the second word to the box.
std::string mirror_of(const Ask& ask) {
    if (!ask.has("X-MD-INTERCEPT-ID")) {
        return "";
    }
    const auto& given = ask.words.at("X-MD-INTERCEPT-ID").front();
    const auto digits = given.substr(given.starts_with("0x") ? 2 : 0);
    const auto number = std::stoull(digits, nullptr, 16);
    return digits.size() > 8 ? fmt::format(" mirror {:016x}", number)
                             : fmt::format(" mirror {:08x}00000000", number & 0x3fffffff);
}

std::vector<std::string> destinations_of(const Ask& ask) {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < ask.cdests.size(); ++i) {
        const auto* const known = configured(ask, ask.cdests[i]);
        const auto part = [&](const char* name, const auto& otherwise) {
            return entry(ask, name, i).value_or(known ? fmt::format("{}", otherwise(*known)) : "");
        };
        texts.push_back(fmt::format(
            "{} {} from {} {} ttl {}{}", part(cdest_lists[0], [](const auto& d) { return d.to; }),
            part(cdest_lists[1], [](const auto& d) { return d.to_port; }),
            part(cdest_lists[2], [](const auto& d) { return d.from; }),
            part(cdest_lists[3], [](const auto& d) { return d.from_port; }),
            entry(ask, "X-JTAP-CDEST-TTL", i).value_or(known ? fmt::format("{}", known->ttl) : "255"),
            mirror_of(ask)));
    }
    return texts;
}

}  // namespace

Blames Model::judge(const Ask& ask) const {
    if (ask.major > 0 || ask.minor < 5 || ask.minor > 8) {
        return {{505, {ask.first_line}, true}};
    }
    auto blames = ask.wrong;
    if (ask.verb == Verb::other) {
        blames.push_back({501, {ask.first_line}});
    }
    if (!ask.seq) {
        blames.push_back({.code = 400});
    }
    if (ask.verb == Verb::other || ask.verb == Verb::noop) {
        return blames;
    }
    // Which of several faults is named is not said.
    auto more = ask.verb == Verb::add ? judge_add(ask) : judge_change(ask);
    blames.insert(blames.end(), more.begin(), more.end());
    return blames;
}

Blames Model::judge_add(const Ask& ask) const {
    if (ask.cdests.empty()) {
        return {{.code = 400}};
    }
    if (ask.cdests.size() > 16) {
        return {{551, {ask.text_of("CDEST-ID")}, true}};
    }
    Blames blames;
    judge_destinations(ask, blames);
    judge_filter(ask, blames);
    judge_places(ask, blames);
    if (const auto priority = ask.numbers.find("PRIORITY");
        priority != ask.numbers.end() && (priority->second < 1 || priority->second > 255)) {
        blames.push_back({400, {ask.text_of("PRIORITY")}});
    }
    if (const auto action = action_of(ask);
        action != "copy" && (ask.has("X-JTAP-FILTER-FAMILY") || !may_use(ask.source, action))) {
        blames.push_back({501, {ask.text_of("ACTION")}});
    }
    for (const auto* const name : {"X-USERNAME", "X-ACT-SESS-ID"}) {
        if (ask.has(name)) {
            blames.push_back({501, {ask.text_of(name)}});
        }
    }
    if (!ask.static_flag) {
        judge_timeouts(ask, blames);
        if (std::ranges::all_of(timeouts, [&](const char* name) {
                const auto given = ask.numbers.find(name);
                return given == ask.numbers.end() || given->second == 0;
            })) {
            const auto lines = lines_of(ask, timeouts);
            blames.push_back({433, lines, lines.empty()});
        }
    }
    std::ranges::move(judge_room(ask, 0, 0), std::back_inserter(blames));
    return blames;
}

Blames Model::judge_room(const Ask& ask, std::size_t adds, std::size_t others_cdests) const {
    Blames blames;
    const auto& source = setup().sources[static_cast<std::size_t>(ask.source)];
    const auto mine = of(ask.source);
    if (mine.size() + adds >= source.max_criteria || taps_.size() + adds >= setup().max_criteria) {
        blames.push_back({.code = 550, .may_be_bare = true});
    }
    std::set<std::string> cdests(ask.cdests.begin(), ask.cdests.end());
    for (const auto id : mine) {
        cdests.insert(taps_.at(id).text->cdests.begin(), taps_.at(id).text->cdests.end());
    }
    if (cdests.size() + others_cdests > source.max_destinations) {
        blames.push_back({551, {ask.text_of("CDEST-ID")}, true});
    }
    return blames;
}

Blames Model::judge_change(const Ask& ask) const {
    Blames blames;
    const bool by_id = ask.has("CRITERIA-ID");
    const bool by_cdest = ask.has("CDEST-ID");
    const bool policy = ask.verb == Verb::enable || ask.verb == Verb::disable;
    if (by_id && by_cdest) {
        return {{400, {ask.text_of("CRITERIA-ID"), ask.text_of("CDEST-ID")}}};
    }
    if (ask.cdests.size() > 1) {
        return {{400, {ask.text_of("CDEST-ID")}}};
    }
    if (std::ranges::any_of(ask.ids, [](const Span& span) { return span.first > span.last; })) {
        return {{400, {ask.text_of("CRITERIA-ID")}}};
    }
    if (!by_id && !by_cdest && ask.verb != Verb::list) {
        return {{.code = 400}};
    }
    if (policy) {
        if (!ask.has("X-DROP-POLICY")) {
            return {{.code = 400}};
        }
        const auto& known = setup().policies;
        if (std::ranges::find(known, ask.words.at("X-DROP-POLICY").front()) == known.end()) {
            blames.push_back({901, {ask.text_of("X-DROP-POLICY")}});
        }
    }
    if (ask.verb == Verb::list) {
        return blames;
    }
    bool unknown = false;
    static_cast<void>(chosen(ask, unknown));
    if (unknown) {
        blames.push_back({431, {ask.text_of("CRITERIA-ID")}});
    }
    if (ask.verb != Verb::refresh) {
        return blames;
    }
    judge_timeouts(ask, blames);
    const auto lines = lines_of(ask, timeouts);
    if (lines.empty()) {
        blames.push_back({.code = 433});
    }
    for (const auto id : changed(ask)) {
        const auto& tap = taps_.at(id);
        auto specified = tap.specified;
        for (const auto* const name : timeouts) {
            const auto given = ask.numbers.find(name);
            if (given == ask.numbers.end()) {
                continue;
            }
            specified[name] = given->second;
        }
        if (!lines.empty() &&
            std::ranges::all_of(specified, [](const auto& each) { return each.second == 0; })) {
            blames.push_back({433, lines});
        }
    }
    return blames;
}

TapText Model::text_of(const Ask& ask, Moment now, const std::string& client) {
    TapText text;
    text.source = ask.source;
    text.is_static = ask.static_flag;
    text.cdests = ask.cdests;
    text.cdest_line = ask.lines.at("CDEST-ID").value;
    text.criterion = criterion_of(ask);
    text.destinations = destinations_of(ask);
    text.action = action_of(ask);
    text.client = client;
    text.added_utc = now.utc;
    text.added_boot = now.boot;
    const auto repeat = [&](std::vector<std::string>& lines, const auto& names) {
        for (const char* const name : names) {
            if (ask.has(name)) {
                lines.push_back(fmt::format("{}: {}", name, ask.lines.at(name).value));
            }
        }
    };
    repeat(text.filter_lines, address_elements);
    repeat(text.filter_lines, number_elements);
    repeat(text.other_lines, std::array{"PRIORITY", "ACTION", "FLAGS"});
    repeat(text.other_lines, cdest_lists);
    repeat(text.other_lines, std::array{"X-JTAP-CDEST-TTL"});
    repeat(text.other_lines, place_names);
    repeat(text.other_lines, std::array{"X-JTAP-IP-VERSION", "X-JTAP-FILTER-FAMILY", "X-INTERFACE-ID",
                                        "X-IP-ADDR", "X-MD-INTERCEPT-ID"});
    return text;
}

}  // namespace flowtap::test::model
