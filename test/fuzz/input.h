// What the fuzzer's bytes decide, taken from the front. Where they are used up all is 0, so that every input
// is a whole one, and a byte that is changed changes one decision.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace flowtap::fuzz {

class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

    bool empty() const { return left_.empty(); }
    std::span<const std::uint8_t> rest() const { return left_; }

    std::uint8_t byte() {
        if (left_.empty()) {
            return 0;
        }
        const std::uint8_t first = left_.front();
        left_ = left_.subspan(1);
        return first;
    }
    /// Two bytes, the more significant one first.
    std::uint16_t number() {
        const std::uint8_t high = byte();
        return static_cast<std::uint16_t>(high << 8 | byte());
    }
    std::size_t below(std::size_t bound) { return byte() % bound; }
    template <typename Value, std::size_t size>
    Value pick(const std::array<Value, size>& pool) {
        return pool[below(size)];
    }
    /// At most so many.
    std::span<const std::uint8_t> bytes(std::size_t most) {
        const auto taken = left_.first(std::min(most, left_.size()));
        left_ = left_.subspan(taken.size());
        return taken;
    }

  private:
    std::span<const std::uint8_t> left_;
};

}  // namespace flowtap::fuzz
