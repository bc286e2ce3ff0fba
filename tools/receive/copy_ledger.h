// What became of the copies of one tap to one destination, by the numbers of their `flowtap` shims.
//
// The ledger closes: expected = received + reported + missing. `expected`: the numbers from the first to the
// last that came, of each life of the sender; `reported`: of the gaps among them, those that the sender says
// it lost itself; `missing`: the rest, which was lost on the way. What the sender lost after the last copy
// that came, nobody knows yet.
#pragma once

#include "tools/receive/gap_tracker.h"

#include <cstdint>
#include <map>
#include <vector>

namespace flowtap::tools::receive {

class CopyLedger {
  public:
    struct Totals {
        std::uint64_t expected = 0;
        std::uint64_t received = 0;  ///< different numbers
        std::uint64_t reported = 0;
        std::uint64_t missing = 0;
        std::uint64_t duplicates = 0;
        std::uint64_t before_first = 0;    ///< copies that the sender had numbered before the first that came
        std::uint64_t sender_dropped = 0;  ///< of all lives, what the last copy of each said

        bool complete() const { return expected == received && duplicates == 0; }
    };

    /// One copy: its number, and the sender's losses until then (modulo 2^32).
    void add(std::uint64_t sequence, std::uint32_t dropped);

    Totals totals() const;
    std::vector<Range> gaps() const { return numbers_.gaps(); }
    /// First to last number of each life.
    std::vector<Range> seen() const { return numbers_.seen(); }

  private:
    /// What the sender said in the copies with the lowest and the highest number.
    struct Said {
        std::uint64_t lowest = 0;
        std::uint64_t highest = 0;
        std::uint32_t dropped_at_lowest = 0;
        std::uint32_t dropped_at_highest = 0;
    };

    GapTracker numbers_;
    std::map<std::uint32_t, Said> said_;  ///< by the high half of the numbers
};

}  // namespace flowtap::tools::receive
