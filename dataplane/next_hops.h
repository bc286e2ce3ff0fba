// Where the delivery port's frames go: the MAC address of the next hop of each way out, which is known or
// not.
//
// Thread safety: one writer (the manager at start, then the slow path's thread); any number of readers.
// Invariant: a reader gets a whole address or none, since it is one atomic word. A frame that was made just
// before a change goes to where the next hop was.
#pragma once

#include "lib/address.h"
#include "lib/next_hops.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace flowtap::dataplane {

class NextHop {
  public:
    constexpr NextHop() = default;  ///< not known
    explicit constexpr NextHop(const lib::MacAddress& mac) : word_(lib::next_hop_word(mac)) {}
    /// As word() gave it.
    static constexpr NextHop from_word(std::uint64_t word) {
        NextHop hop;
        hop.word_ = word;
        return hop;
    }

    constexpr bool known() const { return word_ != 0; }
    constexpr std::uint64_t word() const { return word_; }
    /// Zero where it is not known.
    constexpr lib::MacAddress mac() const { return lib::next_hop_mac(word_).value_or(lib::MacAddress{}); }

    bool operator==(const NextHop&) const = default;

  private:
    std::uint64_t word_ = 0;
};

class NextHops {
  public:
    explicit NextHops(std::size_t tunnels) : words_(families + tunnels) {}

    // Writer

    void set(lib::Family family, NextHop hop) { store(index(family), hop); }
    void set_tunnel(std::size_t tunnel, NextHop hop) { store(families + tunnel, hop); }
    void set_all(NextHop hop) {
        for (auto& word : words_) {
            word.store(hop.word(), std::memory_order_relaxed);
        }
    }

    // Readers

    /// Of what leaves in clear.
    NextHop of(lib::Family family) const { return load(index(family)); }
    /// Of what a tunnel (index in the configuration) has sealed.
    NextHop of_tunnel(std::size_t tunnel) const { return load(families + tunnel); }

  private:
    static constexpr std::size_t families = 2;

    static constexpr std::size_t index(lib::Family family) { return family == lib::Family::ipv4 ? 0 : 1; }
    void store(std::size_t i, NextHop hop) { words_[i].store(hop.word(), std::memory_order_relaxed); }
    NextHop load(std::size_t i) const {
        return NextHop::from_word(words_[i].load(std::memory_order_relaxed));
    }

    std::vector<std::atomic<std::uint64_t>> words_;
};

}  // namespace flowtap::dataplane
