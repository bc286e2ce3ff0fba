// Which sequence numbers of a control source were seen (dtcp.md section 3): an anti-replay window over 64-bit
// numbers that wraps.
//
// Ahead of the highest number, the next `positive` ones are accepted and move the window; behind it, those of
// the last `negative` ones that were not seen. Everything else is refused. Passing from the top of the number
// space to 0 is a step ahead like any other, allowed only from a number whose top byte is all ones.
//
// A plain value. Only numbers of authentic messages may be given to accept().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace flowtap::control {

enum class SequenceVerdict : std::uint8_t {
    accepted,
    rollover,  ///< accepted, and the numbers have passed zero
    seen,      ///< a replay, or older than anything that was ever accepted
    too_old,   ///< behind the negative window
    too_far,   ///< ahead of the positive window
};

constexpr bool is_accepted(SequenceVerdict verdict) {
    return verdict == SequenceVerdict::accepted || verdict == SequenceVerdict::rollover;
}

class SequenceWindow {
  public:
    static constexpr std::uint64_t positive = 256;
    static constexpr std::uint64_t negative = 256;

    /// Nothing was seen: the first number, whatever it is, is accepted.
    SequenceWindow() = default;

    /// Everything up to `number` counts as seen.
    static SequenceWindow after(std::uint64_t number) {
        SequenceWindow window;
        window.fresh_ = false;
        window.current_ = number;
        window.seen_.fill(~std::uint64_t{0});
        return window;
    }

    /// As what a record says.
    struct State {
        bool fresh = true;
        std::uint64_t current = 0;                        ///< the highest that was seen
        std::array<std::uint64_t, negative / 64> seen{};  ///< bit i: current - 1 - i was

        bool operator==(const State&) const = default;
    };
    explicit SequenceWindow(const State& state)
        : fresh_{state.fresh}, current_{state.current}, seen_{state.seen} {}
    State state() const { return {fresh_, current_, seen_}; }

    /// What accept() would say.
    SequenceVerdict check(std::uint64_t number) const;
    /// Remembers the number when it is accepted; otherwise nothing changes.
    SequenceVerdict accept(std::uint64_t number);

  private:
    bool bit(std::uint64_t place) const { return (seen_[place / 64] >> (place % 64) & 1) != 0; }
    void set(std::uint64_t place) { seen_[place / 64] |= std::uint64_t{1} << (place % 64); }
    void shift(std::uint64_t step);

    bool fresh_ = true;
    std::uint64_t current_ = 0;
    std::array<std::uint64_t, negative / 64> seen_{};
};

}  // namespace flowtap::control
