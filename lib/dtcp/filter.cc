#include "lib/dtcp/filter.h"

#include "lib/dtcp/address_entry.h"
#include "lib/dtcp/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

constexpr std::array<std::uint16_t, 5> port_protocols{6, 17, 132, 136, 33};
constexpr std::array<std::uint16_t, 2> icmp_protocols{1, 58};

/// Where `*` is one of the positive terms, no positive term restricts anything.
template <typename List>
void drop_positive_terms(List& list) {
    std::erase_if(list, [](const auto& term) { return !term.negated; });
}

bool matches(const NumberList& list, std::uint16_t value) {
    bool positive = false;
    bool hit = false;
    for (const NumberTerm& term : list) {
        const bool inside = term.first <= value && value <= term.last;
        if (term.negated && inside) {
            return false;
        }
        positive |= !term.negated;
        hit |= !term.negated && inside;
    }
    return !positive || hit;
}

template <std::size_t Count>
bool matches_any(const NumberList& list, const std::array<std::uint16_t, Count>& values) {
    return std::ranges::any_of(values, [&list](std::uint16_t value) { return matches(list, value); });
}

/// Filter elements that no request holds.
class Elements {
  public:
    explicit Elements(std::span<const Parameter> elements) : elements_{elements} {}

    const Parameter* find(Name name) const {
        const auto found = std::ranges::find(elements_, name, &Parameter::id);
        return found == elements_.end() ? nullptr : &*found;
    }
    Version version() const { return version_0_8; }

  private:
    std::span<const Parameter> elements_;
};

template <typename Source>
class Compiler {
  public:
    explicit Compiler(const Source& request) : request_{request} {}

    std::expected<Criterion, Failure> compile() {
        if (check_bound() && take_ip_version() && take_ip_addr() &&
            addresses(Name::source_address, criterion_.source_address) &&
            addresses(Name::dest_address, criterion_.dest_address)) {
            criterion_.family = family_.value_or(Family::ipv4);
            exclude_all();
            if (numbers(Name::protocol, 255, criterion_.protocol) &&
                numbers(Name::source_port, 65535, criterion_.source_port) &&
                numbers(Name::dest_port, 65535, criterion_.dest_port) &&
                numbers(Name::icmp_type, 255, criterion_.icmp_type) &&
                numbers(Name::icmp_code, 255, criterion_.icmp_code) && check_protocols()) {
                return std::move(criterion_);
            }
        }
        return std::unexpected(std::move(*failure_));
    }

  private:
    bool refuse(const Parameter* parameter, std::string_view reason, Code code = Code::improper_filter) {
        failure_ = fail(code, parameter, reason).error();
        return false;
    }

    bool check_bound() {
        std::size_t terms = 0;
        for (const Name name : {Name::source_address, Name::dest_address, Name::protocol, Name::source_port,
                                Name::dest_port, Name::icmp_type, Name::icmp_code}) {
            const Parameter* const parameter = request_.find(name);
            if (parameter == nullptr) {
                continue;
            }
            terms += count_entries(parameter->value);
            if (terms > max_terms) {
                return refuse(parameter, "more than 1,024 entries in the lists of one criterion");
            }
        }
        return true;
    }

    /// All that says which family the criterion is of has to say the same.
    bool take_family(Family family, const Parameter* parameter) {
        if (family_ && *family_ != family) {
            return refuse(parameter, "IPv4 and IPv6 in one criterion");
        }
        if (family == Family::ipv6 && request_.version() < version_0_7) {
            return refuse(parameter, "IPv6 in a version that has none");
        }
        family_ = family;
        return true;
    }

    bool take_ip_version() {
        const Parameter* const parameter = request_.find(Name::jtap_ip_version);
        if (parameter == nullptr) {
            return true;
        }
        if (equal_ignoring_case(parameter->value, "ipv4")) {
            return take_family(Family::ipv4, parameter);
        }
        if (equal_ignoring_case(parameter->value, "ipv6")) {
            return take_family(Family::ipv6, parameter);
        }
        return refuse(parameter, "not an IP version: ipv4 and ipv6 are", Code::not_implemented);
    }

    bool take_ip_addr() {
        const Parameter* const parameter = request_.find(Name::ip_addr);
        if (parameter == nullptr) {
            return true;
        }
        const auto address = parse_ip(parameter->value);
        if (!address) {
            return refuse(parameter, "not an address", Code::bad_request);
        }
        return take_family(address->family, parameter);
    }

    bool addresses(Name name, AddressList& list) {
        const Parameter* const parameter = request_.find(name);
        if (parameter == nullptr) {
            return true;
        }
        list.reserve(count_entries(parameter->value));
        bool everything = false;
        const bool good = for_each_entry(parameter->value, [&](std::string_view text) {
            const auto entry = parse_address_entry(text);
            if (!entry) {
                return refuse(parameter, "not an address, prefix or range");
            }
            if (!entry->whole) {
                list.push_back(entry->term);
                return take_family(entry->term.first.family, parameter);
            }
            if (entry->term.negated) {
                excludes_all_[name == Name::source_address ? 0 : 1] = true;
            } else {
                everything = true;
            }
            return true;
        });
        if (everything) {
            drop_positive_terms(list);
        }
        return good;
    }

    /// `!*` waits until the family is known.
    void exclude_all() {
        const AddressTerm nothing{lowest_address(criterion_.family), highest_address(criterion_.family),
                                  true};
        if (excludes_all_[0]) {
            criterion_.source_address.push_back(nothing);
        }
        if (excludes_all_[1]) {
            criterion_.dest_address.push_back(nothing);
        }
    }

    bool numbers(Name name, std::uint16_t largest, NumberList& list) {
        const Parameter* const parameter = request_.find(name);
        if (parameter == nullptr) {
            return true;
        }
        list.reserve(count_entries(parameter->value));
        bool everything = false;
        const bool good = for_each_entry(parameter->value, [&](std::string_view text) {
            const auto range = parse_range(text, largest);
            if (!range) {
                return refuse(parameter, "not a number or range, or out of range");
            }
            everything |= range->whole && !range->negated;
            list.push_back({range->first, range->last, range->negated});
            return true;
        });
        if (everything) {
            drop_positive_terms(list);
        }
        return good;
    }

    bool check_protocols() {
        const bool ports = !criterion_.source_port.empty() || !criterion_.dest_port.empty();
        const bool icmp = !criterion_.icmp_type.empty() || !criterion_.icmp_code.empty();
        if (ports && !matches_any(criterion_.protocol, port_protocols)) {
            return refuse(line_of(Name::source_port, Name::dest_port, criterion_.source_port),
                          "ports with a protocol list that excludes every protocol with ports");
        }
        if (icmp && (ports || !matches_any(criterion_.protocol, icmp_protocols))) {
            return refuse(line_of(Name::icmp_type, Name::icmp_code, criterion_.icmp_type),
                          "ICMP type or code with ports, or with a protocol list that excludes ICMP");
        }
        return true;
    }

    /// The first of the two that says something.
    const Parameter* line_of(Name first, Name second, const NumberList& first_list) const {
        return request_.find(first_list.empty() ? second : first);
    }

    const Source& request_;
    Criterion criterion_;
    std::optional<Family> family_;
    std::array<bool, 2> excludes_all_{};  ///< `!*` among the source and the destination addresses
    std::optional<Failure> failure_;
};

void append(std::string& text, const AddressTerm& term) {
    text += term.negated ? "!" : "";
    text += to_string(term.first);
    if (term.first != term.last) {
        text += '-' + to_string(term.last);
    }
}

void append(std::string& text, const NumberTerm& term) {
    text += term.negated ? "!" : "";
    text += std::to_string(term.first);
    if (term.first != term.last) {
        text += '-' + std::to_string(term.last);
    }
}

template <typename List>
void append(std::string& text, std::string_view name, const List& list) {
    if (list.empty()) {
        return;
    }
    text += ' ';
    text += name;
    char separator = '=';
    for (const auto& term : list) {
        text += separator;
        append(text, term);
        separator = ',';
    }
}

}  // namespace

std::expected<Criterion, Failure> parse_filter(const Request& request) {
    return Compiler{request}.compile();
}

std::expected<Criterion, Failure> parse_filter(std::span<const Parameter> elements) {
    const Elements source{elements};
    return Compiler{source}.compile();
}

std::string to_string(const Criterion& criterion) {
    std::string text = criterion.family == Family::ipv4 ? "ipv4" : "ipv6";
    append(text, "source-address", criterion.source_address);
    append(text, "dest-address", criterion.dest_address);
    append(text, "protocol", criterion.protocol);
    append(text, "source-port", criterion.source_port);
    append(text, "dest-port", criterion.dest_port);
    append(text, "icmp-type", criterion.icmp_type);
    append(text, "icmp-code", criterion.icmp_code);
    return text;
}

}  // namespace flowtap::lib::dtcp
