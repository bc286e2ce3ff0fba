#include "test/fuzz/fragment_account.h"

#include <algorithm>
#include <iterator>

namespace flowtap::fuzz {
namespace {

constexpr std::uint64_t patience_ms = 1000;
constexpr std::uint64_t memory_ms = 5000;
constexpr std::size_t most_taken = 32;    // in one poll
constexpr std::size_t most_given_up = 8;  // likewise

const std::set<int> port_protocols{6, 17, 33, 132, 136};
const std::set<int> extension_protocols{0, 43, 44, 51, 60, 140};

struct Fragment {
    DatagramKey key;
    bool later = false;
    std::optional<Upper> upper;  ///< of a first one that says all of it
};

std::uint32_t number(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
    std::uint32_t value = 0;
    for (const std::uint8_t byte : bytes.subspan(at, size)) {
        value = value << 8 | byte;
    }
    return value;
}

struct Place {
    std::uint32_t id = 0;
    std::uint32_t offset = 0;
    bool more = false;
};

std::optional<Place> place_in_ipv4(std::span<const std::uint8_t> packet) {
    const std::uint32_t word = number(packet, 6, 2);
    const Place place{number(packet, 4, 2), word & 0x1fff, (word & 0x2000) != 0};
    return place.offset != 0 || place.more ? std::optional(place) : std::nullopt;
}

// Eight extension headers, of 512 bytes, are looked at.
std::optional<Place> place_in_ipv6(std::span<const std::uint8_t> packet) {
    std::optional<Place> found;
    int next = packet[6];
    std::size_t at = 40;
    for (int headers = 1; extension_protocols.contains(next) && headers <= 8; ++headers) {
        if (packet.size() < at + 8) {
            break;
        }
        const std::span<const std::uint8_t> header = packet.subspan(at);
        std::size_t size = (header[1] + 1U) * 8;
        if (next == 51) {
            size = (header[1] + 2U) * 4;
        }
        if (next == 44) {
            size = 8;
            const std::uint32_t word = number(header, 2, 2);
            const Place place{number(header, 4, 4), word / 8, (word & 1) != 0};
            if (place.offset != 0) {
                return place;
            }
            if (place.more) {
                found = place;
            } else if (found) {
                found->id = place.id;
            }
        }
        next = header[0];
        at += size;
        if (at - 40 > 512) {
            break;
        }
    }
    return found;
}

/// None: no fragment, or one that no tap waits for.
std::optional<Fragment> fragment_of(std::span<const std::uint8_t> frame, const test::Reading& reading,
                                    std::uint16_t port) {
    if (!reading.facts) {
        return std::nullopt;
    }
    const test::PacketFacts& facts = *reading.facts;
    const bool is_ipv4 = facts.source.family == lib::Family::ipv4;
    const auto packet = frame.subspan(facts.l3_offset, facts.l3_length);
    const std::optional<Place> place = is_ipv4 ? place_in_ipv4(packet) : place_in_ipv6(packet);
    // A tap of ports waits for IPv4 of protocols that have some, and for all of IPv6, whose later fragments
    // do not say their protocol for sure.
    if (!place || (is_ipv4 && !port_protocols.contains(*facts.protocol))) {
        return std::nullopt;
    }
    Fragment fragment;
    fragment.later = place->offset != 0;
    fragment.key = {.source = facts.source,
                    .dest = facts.dest,
                    .id = place->id,
                    .protocol = is_ipv4 ? facts.protocol : std::nullopt,
                    .port = port};
    for (std::size_t at = 12; number(frame, at, 2) == 0x8100 || number(frame, at, 2) == 0x88a8; at += 4) {
        const auto id = static_cast<std::uint16_t>(number(frame, at + 2, 2) % 4096);
        fragment.key.outer_vlan = fragment.key.tags++ == 0 ? id : fragment.key.outer_vlan;
        fragment.key.inner_vlan = id;
    }
    if (!fragment.later && reading.outcome == test::Outcome::matched_on_all) {
        fragment.upper = Upper{*facts.protocol, facts.ports, facts.icmp};
    }
    return fragment;
}

}  // namespace

void FragmentAccount::give_to_port_tap(std::size_t frame, const Upper& upper) {
    if (upper.ports && upper.ports->second == tapped_port) {
        copied_[frame].push_back(families_[frame] == lib::Family::ipv4 ? 1 : 3);
    }
}

void FragmentAccount::learn(const DatagramKey& key, const Upper& upper) {
    const Upper* const before = known(key);
    counts_.conflict += std::uint64_t{before != nullptr && *before != upper};
    known_[key] = {upper, now_};
    seen_.insert(key);
    const auto take = [&](const Waiting& one) {
        if (one.key == key) {
            ready_.push_back({one.frame, key.port, upper});
            ++counts_.resolved;
            return true;
        }
        return false;
    };
    std::deque<Waiting> others;
    std::ranges::remove_copy_if(waiting_, std::back_inserter(others), take);
    waiting_ = std::move(others);
}

const Upper* FragmentAccount::known(const DatagramKey& key) const {
    const auto found = known_.find(key);
    return found != known_.end() && now_ - found->second.since < memory_ms ? &found->second.upper : nullptr;
}

void FragmentAccount::keep(std::size_t frame, const DatagramKey& key) {
    ++counts_.early;
    while (waiting_.size() + ready_.size() >= room_) {
        ++counts_.held_full;
        if (waiting_.empty()) {
            return;
        }
        waiting_.pop_front();
    }
    waiting_.push_back({frame, key, now_});
}

void FragmentAccount::pass(std::span<const test::Bytes> burst, std::uint16_t port) {
    std::vector<std::pair<std::size_t, DatagramKey>> early;
    const auto complete = [&](std::size_t frame, const DatagramKey& key) {
        const Upper* const upper = known(key);
        if (upper != nullptr) {
            ++counts_.completed;
            give_to_port_tap(frame, *upper);
        }
        return upper != nullptr;
    };
    for (const test::Bytes& bytes : burst) {
        const std::size_t frame = copied_.size();
        const test::Reading reading = test::reference_parse(bytes);
        const lib::Family family = reading.facts ? reading.facts->source.family : lib::Family::ipv4;
        copied_.emplace_back();
        families_.push_back(family);
        if (reading.facts) {
            copied_[frame].push_back(family == lib::Family::ipv4 ? 0 : 2);
            give_to_port_tap(frame, {0, reading.facts->ports, {}});
        }
        if (const auto fragment = fragment_of(bytes, reading, port)) {
            if (fragment->upper) {
                learn(fragment->key, *fragment->upper);
            } else if (fragment->later && !complete(frame, fragment->key)) {
                early.emplace_back(frame, fragment->key);
            }
        }
    }
    // The first one may have come behind them in the same burst.
    std::erase_if(early, [&](const auto& one) { return complete(one.first, one.second); });
    for (const auto& [frame, key] : early) {
        keep(frame, key);
    }
}

void FragmentAccount::poll() {
    const std::uint16_t port = ready_.empty() ? 0 : ready_.front().port;
    for (std::size_t i = 0; i < most_taken && !ready_.empty() && ready_.front().port == port; ++i) {
        give_to_port_tap(ready_.front().frame, ready_.front().upper);
        ready_.pop_front();
    }
    for (std::size_t i = 0; i < most_given_up && !waiting_.empty(); ++i) {
        if (now_ - waiting_.front().since < patience_ms) {
            break;
        }
        waiting_.pop_front();
        ++counts_.unresolved;
    }
}

void FragmentAccount::settle() {
    do {
        poll();
    } while (!ready_.empty());
}

void FragmentAccount::stop() {
    settle();
    counts_.unresolved += waiting_.size();
    waiting_.clear();
}

}  // namespace flowtap::fuzz
