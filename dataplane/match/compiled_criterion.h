// A criterion as what is left when its lists are worked out: one set of ranges a field, no negation, no
// overlap.
#pragma once

#include "dataplane/match/key_space.h"
#include "dataplane/match/range_set.h"
#include "lib/criterion.h"
#include "lib/records.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::dataplane::match {

/// What a side of a host's two directions (both_directions.h) may add to a criterion of max_terms.
inline constexpr std::size_t max_compiled_terms = lib::max_terms + 1;

inline constexpr std::size_t fields = 7;
/// Bit of bounded() for the interfaces, beside those of the fields.
inline constexpr std::size_t interface_field = fields;

constexpr std::size_t index_of(lib::Field field) {
    return static_cast<std::size_t>(field);
}

/// Kept and filled again, so that compiling allocates nothing once the sets have grown.
class CompiledCriterion {
  public:
    /// False: a term is reversed or of another family, an interface is impossible, there are too many, a
    /// criterion of whole frames has terms or no interface, or it is of either direction of a host, which is
    /// for both_directions.h to take apart. Throws std::bad_alloc.
    bool compile(const lib::Criterion& criterion);

    lib::Family family() const { return family_; }
    /// Nothing can match: a set is empty, or ports and ICMP fields are both named.
    bool never() const { return never_; }
    /// The frame must have ports or ICMP fields: bits flag::ports, flag::icmp.
    std::uint8_t required() const { return required_; }
    /// Whole frames, IP or not.
    bool layer2() const { return layer2_; }
    /// Bit f: the field's set has to be looked at; without it every value is in the set.
    std::uint8_t bounded() const { return bounded_; }

    const RangeSet<std::uint32_t>& ipv4(Side side) const { return ipv4_[static_cast<std::size_t>(side)]; }
    const RangeSet<Uint128>& ipv6(Side side) const { return ipv6_[static_cast<std::size_t>(side)]; }
    /// Of a field from protocol on.
    const RangeSet<std::uint16_t>& numbers(std::size_t field) const { return numbers_[field]; }
    /// As interface_of has them; empty: anywhere.
    const RangeSet<std::uint32_t>& interfaces() const { return interfaces_; }

  private:
    /// The terms of one list, positive and negated apart.
    template <typename Value>
    struct Terms {
        RangeSet<Value> positive;
        RangeSet<Value> negated;

        void clear() {
            positive.clear();
            negated.clear();
        }
        void add(Value first, Value last, bool is_negated) {
            (is_negated ? negated : positive).push_back({first, last});
        }
    };

    template <typename Value>
    bool compile_addresses(const lib::AddressList& list, lib::Field field, Terms<Value>& terms,
                           RangeSet<Value>& set);
    bool compile_numbers(const lib::NumberList& list, lib::Field field, std::uint16_t max,
                         std::uint8_t required);
    bool compile_interfaces(const lib::InterfaceList& list);
    template <typename Value>
    void finish(lib::Field field, Value max, Terms<Value>& terms, RangeSet<Value>& set);

    lib::Family family_ = lib::Family::ipv4;
    bool layer2_ = false;
    bool never_ = false;
    std::uint8_t required_ = 0;
    std::uint8_t bounded_ = 0;
    std::array<RangeSet<std::uint32_t>, 2> ipv4_;
    std::array<RangeSet<Uint128>, 2> ipv6_;
    std::array<RangeSet<std::uint16_t>, fields> numbers_;
    RangeSet<std::uint32_t> interfaces_;
    Terms<std::uint32_t> ipv4_terms_;
    Terms<Uint128> ipv6_terms_;
    Terms<std::uint16_t> number_terms_;
};

}  // namespace flowtap::dataplane::match
