#include "dataplane/match/compiled_criterion.h"

#include "dataplane/match/byte_order.h"
#include "dataplane/match/headers.h"
#include "lib/command_rules.h"

#include <algorithm>
#include <type_traits>

namespace flowtap::dataplane::match {
namespace {

template <typename Value>
Value number_of(const lib::IpAddress& address) {
    if constexpr (std::is_same_v<Value, std::uint32_t>) {
        return load_be32(address.bytes.data());
    } else {
        return (static_cast<Uint128>(load_be64(address.bytes.data())) << 64) |
               load_be64(address.bytes.data() + 8);
    }
}

}  // namespace

template <typename Value>
void CompiledCriterion::finish(lib::Field field, Value max, Terms<Value>& terms, RangeSet<Value>& set) {
    if (terms.positive.empty()) {
        terms.positive.push_back({Value{0}, max});
    }
    normalise(terms.positive);
    normalise(terms.negated);
    subtract(terms.positive, terms.negated, set);
    if (set.empty()) {
        never_ = true;
    } else if (set.front().first != 0 || set.front().last != max) {
        bounded_ |= static_cast<std::uint8_t>(1U << index_of(field));
    }
}

template <typename Value>
bool CompiledCriterion::compile_addresses(const lib::AddressList& list, lib::Field field, Terms<Value>& terms,
                                          RangeSet<Value>& set) {
    if (list.empty()) {
        return true;
    }
    terms.clear();
    for (const lib::AddressTerm& term : list) {
        if (term.first.family != family_ || term.last.family != family_) {
            return false;
        }
        const auto first = number_of<Value>(term.first);
        const auto last = number_of<Value>(term.last);
        if (first > last) {
            return false;
        }
        terms.add(first, last, term.negated);
    }
    finish(field, static_cast<Value>(~Value{0}), terms, set);
    return true;
}

bool CompiledCriterion::compile_numbers(const lib::NumberList& list, lib::Field field, std::uint16_t max,
                                        std::uint8_t required) {
    if (list.empty()) {
        return true;
    }
    number_terms_.clear();
    bool any_positive = false;
    for (const lib::NumberTerm& term : list) {
        if (term.first > term.last) {
            return false;
        }
        any_positive = any_positive || !term.negated;
        if (term.first <= max) {  // else it speaks of no value that there is
            number_terms_.add(term.first, std::min(term.last, max), term.negated);
        }
    }
    required_ |= required;
    if (any_positive && number_terms_.positive.empty()) {
        never_ = true;
        return true;
    }
    finish(field, max, number_terms_, numbers_[index_of(field)]);
    return true;
}

bool CompiledCriterion::compile_interfaces(const lib::InterfaceList& list) {
    interfaces_.clear();
    for (const lib::InterfaceTerm& term : list) {
        if (!lib::valid_interface({.port = term.port, .vlan = term.vlan})) {
            return false;
        }
        const std::uint32_t port = std::uint32_t{term.port} << 16;
        if (term.vlan == lib::any_vlan) {
            interfaces_.push_back({port, port | 0xffff});
        } else {
            interfaces_.push_back({port | term.vlan, port | term.vlan});
        }
    }
    normalise(interfaces_);
    if (!interfaces_.empty()) {
        bounded_ |= static_cast<std::uint8_t>(1U << interface_field);
    }
    return list.size() <= lib::max_interface_terms;
}

bool CompiledCriterion::compile(const lib::Criterion& criterion) {
    family_ = criterion.family;
    never_ = false;
    required_ = 0;
    bounded_ = 0;
    layer2_ = criterion.layer2;
    const std::size_t terms = lib::term_count(criterion);
    if (terms > max_compiled_terms || criterion.either_address ||
        (layer2_ && (terms != 0 || criterion.interfaces.empty()))) {
        return false;
    }
    const auto addresses = [&](const lib::AddressList& list, lib::Field field, Side side) {
        const auto index = static_cast<std::size_t>(side);
        return family_ == lib::Family::ipv4 ? compile_addresses(list, field, ipv4_terms_, ipv4_[index])
                                            : compile_addresses(list, field, ipv6_terms_, ipv6_[index]);
    };
    using enum lib::Field;
    const bool well_formed = (family_ == lib::Family::ipv4 || family_ == lib::Family::ipv6) &&
                             addresses(criterion.source_address, source_address, Side::source) &&
                             addresses(criterion.dest_address, dest_address, Side::dest) &&
                             compile_numbers(criterion.protocol, protocol, 0xff, 0) &&
                             compile_numbers(criterion.source_port, source_port, 0xffff, flag::ports) &&
                             compile_numbers(criterion.dest_port, dest_port, 0xffff, flag::ports) &&
                             compile_numbers(criterion.icmp_type, icmp_type, 0xff, flag::icmp) &&
                             compile_numbers(criterion.icmp_code, icmp_code, 0xff, flag::icmp) &&
                             compile_interfaces(criterion.interfaces);
    never_ = never_ || required_ == (flag::ports | flag::icmp);
    return well_formed;
}

}  // namespace flowtap::dataplane::match
