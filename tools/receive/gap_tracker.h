// Which sequence numbers of an SA never came.
//
// A sender that restarts with the same static key goes on in a new block of 2^32 counter values, and its
// sequence numbers start over. Our sender shows its whole counter in the IV; so each block is looked at by
// itself, and a restart is not reported as billions of lost packets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace flowtap::tools::receive {

/// Counter values, both included; the high 32 bits are the block.
struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;

    bool operator==(const Range&) const = default;
    std::uint64_t size() const { return last - first + 1; }
};

/// The counter value of a packet: its IV where that carries one (RFC 4106 section 3.1 leaves the IV to the
/// sender) and the sequence number is only the low half, else its sequence number.
std::uint64_t counter_of(std::uint64_t sequence, std::uint64_t iv);

/// Memory grows with the number of gaps, so only authenticated numbers may be added.
class GapTracker {
  public:
    void add(std::uint64_t counter);

    /// Gaps between the first and the last value seen of each block, in order. What is missing before the
    /// first or after the last cannot be known.
    std::vector<Range> gaps() const;
    /// First to last value seen of each block, in order.
    std::vector<Range> seen() const;
    std::uint64_t missing() const { return missing_; }
    std::uint64_t duplicates() const { return duplicates_; }

  private:
    struct Block {
        Range seen;
        std::map<std::uint64_t, std::uint64_t> gaps;  ///< first missing value to last
    };

    void open_gap(Block& block, std::uint64_t first, std::uint64_t last);

    std::map<std::uint32_t, Block> blocks_;
    std::uint64_t missing_ = 0;
    std::uint64_t duplicates_ = 0;
};

}  // namespace flowtap::tools::receive
