// The flows that this box itself sends: its tunnels and the encapsulations of its copies. A frame of one of
// them on a wire is never matched, or a tap on everything would copy its own copies, without end.
//
// Thread safety: one writer (the manager) adds and removes; any number of readers call contains(), which
// takes no lock and waits for nobody. A reader belongs to the Quiescence that reclaim() is asked to wait for.
// Invariants: 1. a flow is found from the return of add() to the call of remove(), as often as it was
// added; 2. what was removed is freed when every reader has passed a quiescent state since.
#pragma once

#include "dataplane/match/headers.h"
#include "dataplane/match/quiescence.h"
#include "lib/address.h"

#include <array>
#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
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

    bool contains(const match::Headers& headers) const;

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

    static std::size_t bucket(const FlowKey& key);
    bool add(const FlowKey& key);
    void remove(const FlowKey& key);
    bool find(const FlowKey& key) const;

    match::Quiescence& quiescence_;
    std::unique_ptr<std::array<std::atomic<Node*>, buckets>> heads_;
    std::vector<Retired> retired_;
};

}  // namespace flowtap::dataplane
