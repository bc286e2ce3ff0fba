#include "dataplane/copy_numbers.h"

#include "dataplane/encapsulation.h"
#include "lib/shims.h"

#include <bit>

namespace flowtap::dataplane {
namespace {

static_assert(Numbering::capacity <= 64);

void write(const Numbering::Place& place, std::uint32_t criteria_id, std::uint64_t number,
           std::uint64_t dropped) {
    lib::FlowtapShim shim;
    shim.flags = place.flags;
    shim.sequence = number;
    shim.arrival = place.arrival;
    shim.criteria_id = criteria_id;
    shim.dropped = static_cast<std::uint32_t>(dropped);
    lib::write_shim(place.shim, shim);
    if (place.checksum != nullptr) {
        add_to_checksum(place.checksum, place.shim, sizeof shim);
    }
}

}  // namespace

void Numbering::settle_lost() {
    if (lost_ != 0) {
        loser_->lose(lost_);
    }
    lost_ = 0;
    loser_ = nullptr;
}

/// One addition for each tap and destination; nearly always there is one.
void Numbering::number() {
    settle_lost();
    std::uint64_t left = count_ == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count_) - 1;
    while (left != 0) {
        CopyNumbers& numbers = *numbers_[static_cast<std::size_t>(std::countr_zero(left))];
        std::uint64_t same = 0;
        for (std::uint64_t rest = left; rest != 0; rest &= rest - 1) {
            same |= numbers_[static_cast<std::size_t>(std::countr_zero(rest))] == &numbers ? rest & (0 - rest)
                                                                                           : 0;
        }
        left &= ~same;
        // In this order: whoever counts a loss has taken its number before.
        const std::uint64_t dropped = numbers.dropped.load(std::memory_order_acquire);
        std::uint64_t number = numbers.next.fetch_add(static_cast<std::uint64_t>(std::popcount(same)),
                                                      std::memory_order_relaxed);
        for (; same != 0; same &= same - 1) {
            write(places_[static_cast<std::size_t>(std::countr_zero(same))], numbers.criteria_id, number++,
                  dropped);
        }
    }
}

void Numbering::lose_numbered(std::size_t copy) {
    for (std::size_t i = 0; i < count_; ++i) {
        if (places_[i].copy == copy) {
            numbers_[i]->dropped.fetch_add(1, std::memory_order_release);
        }
    }
}

}  // namespace flowtap::dataplane
