#include "dataplane/own_flows.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace flowtap::dataplane {
namespace {

constexpr std::uint16_t protocol_udp = 17;
constexpr std::uint16_t protocol_esp = 50;
constexpr std::uint16_t nat_traversal_port = 4500;  // RFC 3948
constexpr std::uint16_t ports_unknown = 0x8000;     // with a protocol: later fragments, which have no ports

FlowKey without_ports(FlowKey key) {
    key.source_port = 0;
    key.dest_port = 0;
    key.protocol |= ports_unknown;
    return key;
}

}  // namespace

OwnFlows::OwnFlows(match::Quiescence& quiescence)
    : quiescence_(quiescence),
      pairs_(filter_bits),
      heads_(std::make_unique<std::array<std::atomic<Node*>, buckets>>()) {}

OwnFlows::~OwnFlows() {
    for (std::atomic<Node*>& head : *heads_) {
        for (Node* node = head.load(std::memory_order_relaxed); node != nullptr;) {
            const std::unique_ptr<Node> owned{node};
            node = node->next.load(std::memory_order_relaxed);
        }
    }
}

std::size_t OwnFlows::bucket(const FlowKey& key) {
    // FNV-1a over 64-bit words: whoever may choose these keys may tap, so no secret is needed.
    std::array<std::uint64_t, 5> words{};
    std::memcpy(words.data(), key.source.data(), 16);
    std::memcpy(words.data() + 2, key.dest.data(), 16);
    words[4] = std::uint64_t{key.source_port} << 32 | std::uint64_t{key.dest_port} << 16 | key.protocol;
    std::uint64_t hash = 0xcbf2'9ce4'8422'2325;
    for (const std::uint64_t word : words) {
        hash = (hash ^ word) * 0x0000'0100'0000'01b3;
        hash ^= hash >> 29;
    }
    return hash % buckets;
}

void OwnFlows::count_pair(const FlowKey& key, std::int32_t change) {
    const std::size_t bit = filter_bit(key.source.data(), key.dest.data());
    pairs_[bit] += static_cast<std::uint32_t>(change);
    std::atomic<std::uint64_t>& word = filter_[bit / 64];
    const std::uint64_t others = word.load(std::memory_order_relaxed) & ~(std::uint64_t{1} << bit % 64);
    word.store(others | std::uint64_t{pairs_[bit] != 0} << bit % 64, std::memory_order_release);
}

bool OwnFlows::find(const FlowKey& key) const {
    const Node* node = (*heads_)[bucket(key)].load(std::memory_order_acquire);
    while (node != nullptr && node->key != key) {
        node = node->next.load(std::memory_order_acquire);
    }
    return node != nullptr;
}

bool OwnFlows::add(const FlowKey& key) {
    std::atomic<Node*>& head = (*heads_)[bucket(key)];
    Node* const first = head.load(std::memory_order_relaxed);
    for (Node* node = first; node != nullptr; node = node->next.load(std::memory_order_relaxed)) {
        if (node->key == key) {
            ++node->uses;
            return true;
        }
    }
    auto* const node = new (std::nothrow) Node{.key = key};
    if (node == nullptr) {
        return false;
    }
    count_pair(key, 1);  // before it can be found at all
    node->next.store(first, std::memory_order_relaxed);
    head.store(node, std::memory_order_release);
    return true;
}

void OwnFlows::remove(const FlowKey& key) {
    std::atomic<Node*>* link = &(*heads_)[bucket(key)];
    Node* node = link->load(std::memory_order_relaxed);
    while (node != nullptr && node->key != key) {
        link = &node->next;
        node = link->load(std::memory_order_relaxed);
    }
    if (node == nullptr || --node->uses != 0) {
        return;
    }
    link->store(node->next.load(std::memory_order_relaxed), std::memory_order_release);
    count_pair(node->key, -1);
    std::unique_ptr<Node> owned{node};
    retired_.push_back({std::move(owned), quiescence_.next_period()});
}

bool OwnFlows::add_encapsulation(const FlowKey& flow) {
    if (!add(flow)) {
        return false;
    }
    if (!add(without_ports(flow))) {
        remove(flow);
        return false;
    }
    return true;
}

void OwnFlows::remove_encapsulation(const FlowKey& flow) {
    remove(flow);
    remove(without_ports(flow));
}

void OwnFlows::add_tunnel(const lib::IpAddress& local, const lib::IpAddress& remote) {
    FlowKey esp{
        .source = local.bytes, .dest = remote.bytes, .protocol = protocol_esp, .family = local.family};
    FlowKey udp = esp;
    udp.protocol = protocol_udp;
    udp.source_port = nat_traversal_port;
    udp.dest_port = nat_traversal_port;
    if (!add(esp) || !add_encapsulation(udp)) {
        throw std::bad_alloc{};
    }
}

void OwnFlows::reclaim() {
    std::erase_if(retired_, [&](const Retired& retired) { return quiescence_.passed(retired.period); });
}

bool OwnFlows::contains_exactly(const match::Headers& headers) const {
    if (headers.protocol != protocol_udp && headers.protocol != protocol_esp) {
        return false;
    }
    const FlowKey key{.source = headers.source,
                      .dest = headers.dest,
                      .source_port = headers.source_port,
                      .dest_port = headers.dest_port,
                      .protocol = headers.protocol,
                      .family = headers.family};
    const bool ports = (headers.flags & match::flag::ports) != 0 || headers.protocol == protocol_esp;
    return find(ports ? key : without_ports(key));
}

}  // namespace flowtap::dataplane
