#include "dataplane/match/division.h"

#include <algorithm>

namespace flowtap::dataplane::match {
namespace {

// Frames of a key that one value is taken to have: most are of two or three protocols, and networks with
// overlapping addresses are many.
constexpr double protocol_weight = 1.0 / 4;
constexpr double interface_weight = 1.0 / 256;
constexpr double port_weight = 1.0 / 65536;
// A part with more of them is not worth the look.
constexpr double widest_share = 1.0 / 2;

}  // namespace

void Division::add(std::uint8_t kind) {
    ++users;
    if (uses[kind]++ == 0) {
        kinds.store(kinds.load(std::memory_order_relaxed) | kind::bit(kind), std::memory_order_relaxed);
    }
}

void Division::remove(std::uint8_t kind) {
    --users;
    if (--uses[kind] == 0) {
        kinds.store(static_cast<std::uint16_t>(kinds.load(std::memory_order_relaxed) & ~kind::bit(kind)),
                    std::memory_order_relaxed);
    }
}

// Takes the blocks that cover the set, if they are few and fewer frames' than what was found so far.
template <typename Value>
void Partition::offer(const RangeSet<Value>& set, std::uint8_t kind, unsigned shift, double weight) {
    std::size_t blocks = 0;
    std::uint32_t next = 0;  // behind the last block that was counted
    for (const Range<Value>& range : set) {
        const std::uint32_t first = std::max(std::uint32_t{range.first} >> shift, next);
        next = (std::uint32_t{range.last} >> shift) + 1;
        blocks += next - first;
        if (blocks > most) {
            return;
        }
    }
    const double share = static_cast<double>(blocks << shift) * weight;
    if (share >= share_) {
        return;
    }
    share_ = share;
    kind_ = kind;
    values_.clear();
    next = 0;
    for (const Range<Value>& range : set) {
        const std::uint32_t last = std::uint32_t{range.last} >> shift;
        for (std::uint32_t block = std::max(std::uint32_t{range.first} >> shift, next); block <= last;
             ++block) {
            values_.push_back(block);
        }
        next = last + 1;
    }
}

void Partition::choose(const CompiledCriterion& criterion) {
    kind_ = 0;
    share_ = widest_share;
    values_.clear();
    values_.reserve(most);
    const auto is_bounded = [&](std::size_t field) { return (criterion.bounded() >> field & 1) != 0; };
    const auto offer_ports = [&](lib::Field field, std::uint8_t first_kind) {
        for (std::uint8_t level = 0; is_bounded(index_of(field)) && level < 4; ++level) {
            offer(criterion.numbers(index_of(field)), static_cast<std::uint8_t>(first_kind + level),
                  4U * level, port_weight);
        }
    };
    offer_ports(lib::Field::dest_port, kind::dest_port);
    offer_ports(lib::Field::source_port, kind::source_port);
    if (is_bounded(interface_field)) {
        offer(criterion.interfaces(), kind::interface, 0, interface_weight);
    }
    if (is_bounded(index_of(lib::Field::protocol))) {
        offer(criterion.numbers(index_of(lib::Field::protocol)), kind::protocol, 0, protocol_weight);
    }
}

}  // namespace flowtap::dataplane::match
