// Which IVs have been seen under one SPI: a bit for each, in pages that are made where IVs are. Of
// iv_watch.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace flowtap::test {

class IvLedger {
  public:
    /// False: it has been there before.
    bool add(std::uint64_t iv) {
        const std::uint64_t number = iv / page_bits;
        if (page_ == nullptr || number != number_) {
            auto& page = pages_[number];
            if (!page) {
                page = std::make_unique<Page>();
            }
            page_ = page.get();
            number_ = number;
        }
        std::uint64_t& word = (*page_)[iv % page_bits / 64];
        const std::uint64_t bit = std::uint64_t{1} << iv % 64;
        const bool fresh = (word & bit) == 0;
        word |= bit;
        ++packets_;
        lowest_ = std::min(lowest_, iv);
        highest_ = std::max(highest_, iv);
        return fresh;
    }

    std::uint64_t packets() const { return packets_; }
    std::uint64_t lowest() const { return lowest_; }
    std::uint64_t highest() const { return highest_; }

  private:
    static constexpr std::uint64_t page_bits = std::uint64_t{1} << 16;
    using Page = std::array<std::uint64_t, page_bits / 64>;

    std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
    Page* page_ = nullptr;  ///< the last one: the next IV is nearly always of it, too
    std::uint64_t number_ = 0;
    std::uint64_t packets_ = 0;
    std::uint64_t lowest_ = UINT64_MAX;
    std::uint64_t highest_ = 0;
};

}  // namespace flowtap::test
