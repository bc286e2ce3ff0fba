// The flows that this box itself sends: its tunnels and the encapsulations of its copies. A frame of one of
// them on a wire is never matched, or a tap on everything would copy its own copies, without end.
//
// Thread safety: one writer (the manager) adds and removes; any number of readers call contains(), which
// takes no lock and waits for nobody. A reader belongs to the Quiescence that reclaim() is asked to wait for.
// Invariants: 1. a flow is found from the return of add() to the call of remove(), as often as it was
// added; 2. what was removed is freed when every reader has passed a quiescent state since; 3. a pair of
// addresses whose bit of the filter is clear has no flow.
#pragma once

#include "dataplane/match/headers.h"
#include "dataplane/match/quiescence.h"
#include "lib/address.h"

#include <array>
#include <atomic>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace flowtap::dataplane {

/// Addresses in network byte order, ports in host byte order.
struct FlowKey {
    std::array<std::uint8_t, 16> source{};
    std::array<std::uint8_t, 16> dest{};
    std::uint16_t source_port =
        0;  ///< 0 with dest_port 0: any, for protocols without and for later fragments
    std::uint16_t dest_port = 0;
    std::uint16_t protocol = 0;
    lib::Family family = lib::Family::ipv4;

    bool operator==(const FlowKey&) const = default;
};

class OwnFlows {
  public:
    /// Throws std::bad_alloc. The quiescence outlives it.
    explicit OwnFlows(match::Quiescence& quiescence);
    ~OwnFlows();
    OwnFlows(const OwnFlows&) = delete;
    OwnFlows& operator=(const OwnFlows&) = delete;

    // Writer

    /// The UDP flow of a content destination, and its fragments. False: no memory, nothing was added.
    bool add_encapsulation(const FlowKey& flow);
    void remove_encapsulation(const FlowKey& flow);
    /// ESP from local to remote, bare or in UDP (RFC 3948). Throws std::bad_alloc; at start only.
    void add_tunnel(const lib::IpAddress& local, const lib::IpAddress& remote);
    /// Frees what no reader can see any more. Never waits.
    void reclaim();

    // Readers

    /// Nearly always answered by one bit.
    bool contains(const match::Headers& headers) const {
        return may_contain(headers) && contains_exactly(headers);
    }
    /// A matchable frame of the burst; of IPv4 nearly always without its headers.
    bool contains(const match::HeaderBurst& burst, std::size_t frame) const {
        if ((burst.ipv4 >> frame & 1) == 0) {
            return contains(burst.headers[frame]);
        }
        return is_set(filter_bit(
                   {std::byteswap(burst.source4[frame]), 0, std::byteswap(burst.dest4[frame]), 0})) &&
               contains_exactly(burst.headers[frame]);
    }

  private:
    struct Node {
        FlowKey key;
        std::uint32_t uses = 1;  ///< writer only
        std::atomic<Node*> next = nullptr;
    };
    struct Retired {
        std::unique_ptr<Node> node;
        match::Period period;
    };
    static constexpr std::size_t buckets = 16'384;
    /// 1 KiB, which stays in the first-level cache; of the pairs of addresses that are not ours, a share of
    /// (pairs that are ours) / filter_bits is looked up in vain.
    static constexpr unsigned filter_bits_log2 = 13;
    static constexpr std::size_t filter_bits = std::size_t{1} << filter_bits_log2;

    static std::size_t bucket(const FlowKey& key);
    static std::size_t filter_bit(const std::uint8_t* source, const std::uint8_t* dest) {
        std::array<std::uint64_t, 4> words;
        std::memcpy(words.data(), source, 16);
        std::memcpy(words.data() + 2, dest, 16);
        return filter_bit(words);
    }
    /// The words of both addresses as they lie in memory, IPv4 padded with zeros.
    static std::size_t filter_bit(const std::array<std::uint64_t, 4>& words) {
        const std::uint64_t sum = words[0] * 0x9e37'79b9'7f4a'7c15 + words[1] * 0xd6e8'feb8'6659'fd93 +
                                  words[2] * 0xa076'1d64'78bd'642f + words[3] * 0xe703'7ed1'a0b4'28db;
        return sum >> (64 - filter_bits_log2);
    }
    bool may_contain(const match::Headers& headers) const {
        return is_set(filter_bit(headers.source.data(), headers.dest.data()));
    }
    bool is_set(std::size_t bit) const {
        return (filter_[bit / 64].load(std::memory_order_acquire) >> bit % 64 & 1) != 0;
    }
    bool contains_exactly(const match::Headers& headers) const;
    void count_pair(const FlowKey& key, std::int32_t change);
    bool add(const FlowKey& key);
    void remove(const FlowKey& key);
    bool find(const FlowKey& key) const;

    match::Quiescence& quiescence_;
    alignas(64) std::array<std::atomic<std::uint64_t>, filter_bits / 64> filter_{};
    std::vector<std::uint32_t> pairs_;  ///< flows by bit of the filter; the writer's
    std::unique_ptr<std::array<std::atomic<Node*>, buckets>> heads_;
    std::vector<Retired> retired_;
};

}  // namespace flowtap::dataplane
