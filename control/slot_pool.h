// Numbers 0..size-1 that are lent out; the one given back longest ago is lent again first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace flowtap::control {

/// Not thread-safe: one owner.
class SlotPool {
  public:
    explicit SlotPool(std::uint32_t size) : lent_(size, false) {}

    std::optional<std::uint32_t> take() {
        while (fresh_ < lent_.size()) {
            const std::uint32_t slot = fresh_++;
            if (!lent_[slot]) {
                lent_[slot] = true;
                return slot;
            }
        }
        if (free_.empty()) {
            return std::nullopt;
        }
        const std::uint32_t slot = free_.front();
        free_.pop_front();
        lent_[slot] = true;
        return slot;
    }

    /// A particular number, before any take(). False: it is out of range or lent already.
    bool claim(std::uint32_t slot) {
        if (slot >= lent_.size() || lent_[slot]) {
            return false;
        }
        lent_[slot] = true;
        return true;
    }

    /// The slot must be lent.
    void give_back(std::uint32_t slot) {
        lent_[slot] = false;
        if (slot < fresh_) {
            free_.push_back(slot);
        }  // else it was claimed, and take() has not come to it yet
    }

  private:
    std::vector<bool> lent_;
    std::deque<std::uint32_t> free_;  ///< slots below fresh_ that were given back
    std::uint32_t fresh_ = 0;         ///< slots from here on were never taken by take()
};

}  // namespace flowtap::control
