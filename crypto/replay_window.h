// The anti-replay window of RFC 4303 section 3.4.3, as a ring of bits that is never shifted (RFC 6479).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::crypto {

/// One thread at a time. Sequence numbers are 64 bits wide, so that extended ones fit.
class ReplayWindow {
  public:
    static constexpr std::size_t smallest = 64;
    static constexpr std::size_t largest = 4096;

    enum class Answer : std::uint8_t { fresh, replayed, too_old };

    /// Whether `size` is a number of sequence numbers that a window can span.
    static constexpr bool valid(std::size_t size) { return size >= smallest && size <= largest; }

    /// `size` is valid().
    explicit ReplayWindow(std::size_t size) : size_(size) {}

    /// Changes nothing: RFC 4303 wants the ICV verified before the window moves.
    Answer check(std::uint64_t sequence) const;

    /// Marks a number that check() called fresh as seen, and moves the window to it if it is the highest yet.
    void mark(std::uint64_t sequence);

    std::uint64_t highest() const { return highest_; }

  private:
    static constexpr std::size_t bits = 64;
    // At least one word more than a window spans, for the word that its top fills only in part; a power of
    // two.
    static constexpr std::size_t words = 2 * largest / bits;

    std::array<std::uint64_t, words> seen_{};
    std::uint64_t highest_ = 0;
    std::size_t size_;
};

}  // namespace flowtap::crypto
