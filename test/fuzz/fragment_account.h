// A plain account of what the fragment tracker should do: which fragments wait, what is known of their
// datagrams, and what that gives two taps of each family, one of which names a destination port. Reads the
// frames by itself and by the reference; shares no code with dataplane/match.
//
// Exact where no time comes near a limit: a caller's times are multiples of `time_unit_ms`.
#pragma once

#include "test/support/packets.h"
#include "test/support/reference_match.h"

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace flowtap::fuzz {

inline constexpr std::uint64_t time_unit_ms = 30;
inline constexpr std::uint16_t tapped_port = 5060;

/// What later fragments take from the first one.
struct Upper {
    std::uint8_t protocol = 0;
    std::optional<std::pair<std::uint16_t, std::uint16_t>> ports;
    std::optional<std::pair<std::uint8_t, std::uint8_t>> icmp;

    bool operator==(const Upper&) const = default;
};

/// RFC 791 section 3.2, RFC 8200 section 4.5, and where it came in.
struct DatagramKey {
    lib::IpAddress source;
    lib::IpAddress dest;
    std::uint32_t id = 0;
    std::optional<std::uint8_t> protocol;  ///< of IPv4
    std::uint16_t port = 0;
    std::size_t tags = 0;
    std::uint16_t outer_vlan = 0;
    std::uint16_t inner_vlan = 0;

    auto operator<=>(const DatagramKey&) const = default;
};

class FragmentAccount {
  public:
    /// `room`: fragments that may wait or be ready.
    explicit FragmentAccount(std::size_t room) : room_(room) {}

    void pass(std::span<const test::Bytes> burst, std::uint16_t port);
    void poll();    ///< what is ready of one port is given back, what has waited too long is given up
    void settle();  ///< until nothing is ready
    void wait_ms(std::uint64_t ms) { now_ += ms; }
    void stop();

    /// For each frame the slots of the taps that get it: 0 and 1 of IPv4, 2 and 3 of IPv6, the odd ones those
    /// of the port.
    const std::vector<std::vector<std::uint32_t>>& copied() const { return copied_; }
    /// Whose first fragment ever came.
    std::size_t datagrams() const { return seen_.size(); }

    struct Counts {
        std::uint64_t completed = 0;
        std::uint64_t early = 0;
        std::uint64_t resolved = 0;
        std::uint64_t unresolved = 0;
        std::uint64_t held_full = 0;
        std::uint64_t conflict = 0;

        bool operator==(const Counts&) const = default;
    };
    const Counts& counts() const { return counts_; }

  private:
    struct Known {
        Upper upper;
        std::uint64_t since = 0;
    };
    struct Waiting {
        std::size_t frame = 0;
        DatagramKey key;
        std::uint64_t since = 0;
    };
    struct Ready {
        std::size_t frame = 0;
        std::uint16_t port = 0;
        Upper upper;
    };

    void learn(const DatagramKey& key, const Upper& upper);
    const Upper* known(const DatagramKey& key) const;
    void keep(std::size_t frame, const DatagramKey& key);
    void give_to_port_tap(std::size_t frame, const Upper& upper);

    std::size_t room_;
    std::uint64_t now_ = 0;
    std::map<DatagramKey, Known> known_;
    std::set<DatagramKey> seen_;
    std::deque<Waiting> waiting_;  // oldest first
    std::deque<Ready> ready_;
    std::vector<std::vector<std::uint32_t>> copied_;
    std::vector<lib::Family> families_;
    Counts counts_;
};

}  // namespace flowtap::fuzz
