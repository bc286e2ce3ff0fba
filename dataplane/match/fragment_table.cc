#include "dataplane/match/fragment_table.h"

#include "dataplane/match/key_space.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

namespace flowtap::dataplane::match {
namespace {

constexpr std::uint32_t vlan_id(std::uint16_t tci) {
    return tci & 0xfffU;  // the priority may change from fragment to fragment
}

// Both halves of the product: each bit of either factor reaches the result.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
    const auto product = static_cast<Uint128>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

FragmentKey fragment_key(const Headers& headers, std::uint16_t port) {
    const bool is_ipv4 = headers.family == lib::Family::ipv4;
    return {.source = headers.source,
            .dest = headers.dest,
            .id = headers.fragment_id,
            .vlans = vlan_id(headers.outer_vlan) | vlan_id(headers.inner_vlan) << 12 |
                     std::uint32_t{headers.vlan_tags} << 24 | std::uint32_t{is_ipv4} << 31,
            .port = port,
            .protocol = is_ipv4 ? headers.protocol : std::uint16_t{0}};
}

FragmentHash::FragmentHash(std::uint64_t seed) {
    // Numbers that look unrelated, from one (the golden ratio keeps them apart).
    for (std::uint64_t& secret : secrets_) {
        seed += 0x9e37'79b9'7f4a'7c15U;
        secret = fold(seed ^ 0xd6e8'feb8'6659'fd93U, seed | 1);
    }
}

std::uint64_t FragmentHash::operator()(const FragmentKey& key) const {
    std::array<std::uint64_t, 6> words{};
    std::memcpy(words.data(), &key, sizeof key);
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < words.size(); i += 2) {
        hash ^= fold(words[i] ^ secrets_[i], words[i + 1] ^ secrets_[i + 1] ^ hash);
    }
    return fold(hash ^ secrets_[0], secrets_[1] | 1);
}

UpperFacts upper_of(const Headers& headers) {
    return {.source_port = headers.source_port,
            .dest_port = headers.dest_port,
            .protocol = headers.protocol,
            .icmp_type = headers.icmp_type,
            .icmp_code = headers.icmp_code};
}

void complete(Headers& headers, const UpperFacts& facts) {
    headers.source_port = facts.source_port;
    headers.dest_port = facts.dest_port;
    headers.protocol = facts.protocol;
    headers.icmp_type = facts.icmp_type;
    headers.icmp_code = facts.icmp_code;
    headers.flags |= parts_of(facts.protocol);
    headers.verdict = Verdict::ok;
}

FragmentTable::FragmentTable(const Options& options)
    : hash_(options.seed),
      lifetime_(options.lifetime),
      mask_(options.buckets - 1),
      buckets_(options.buckets, options.memory),
      entries_(options.buckets * bucket_size, options.memory) {
    assert(std::has_single_bit(options.buckets) && options.buckets <= std::size_t{1} << 24);
}

FragmentTable::Home FragmentTable::home_of(const FragmentKey& key) const {
    const std::uint64_t hash = hash_(key);
    return {.buckets = {static_cast<std::size_t>(hash) & mask_, static_cast<std::size_t>(hash >> 24) & mask_},
            .tag = static_cast<std::uint32_t>(hash >> 32) | 1};
}

FragmentTable::Place FragmentTable::find(const FragmentKey& key, const Home& home, Ticks now) const {
    for (const std::size_t number : home.buckets) {
        const Bucket& bucket = buckets_[number];
        for (std::size_t i = 0; i < bucket_size; ++i) {
            if (bucket.tags[i] == home.tag && !is_old(bucket, i, now) && entry({number, i}).key == key) {
                return {number, i};
            }
        }
    }
    return {0, none};
}

const UpperFacts* FragmentTable::find(const FragmentKey& key, Ticks now) const {
    const Place place = find(key, home_of(key), now);
    return place.index != none ? &entry(place).facts : nullptr;
}

/// Returns how many entries of the bucket are left.
std::size_t FragmentTable::forget_old(std::size_t number, Ticks now) {
    Bucket& bucket = buckets_[number];
    std::size_t left = 0;
    for (std::size_t i = 0; i < bucket_size; ++i) {
        if (bucket.tags[i] != 0 && is_old(bucket, i, now)) {
            bucket.tags[i] = 0;
            --size_;
        }
        left += std::size_t{bucket.tags[i] != 0};
    }
    return left;
}

/// A free place in the emptier bucket, or that of the oldest entry of both.
FragmentTable::Place FragmentTable::make_room(const Home& home, Ticks now, bool& evicted) {
    const auto [first, second] = home.buckets;
    const std::size_t chosen = forget_old(second, now) < forget_old(first, now) ? second : first;
    const Bucket& bucket = buckets_[chosen];
    const auto free = static_cast<std::size_t>(std::ranges::find(bucket.tags, 0U) - bucket.tags.begin());
    if (free != bucket_size) {
        ++size_;
        return {chosen, free};
    }
    evicted = true;
    Place oldest{first, 0};
    for (const std::size_t number : home.buckets) {
        for (std::size_t i = 0; i < bucket_size; ++i) {
            if (now - buckets_[number].since[i] > now - buckets_[oldest.bucket].since[oldest.index]) {
                oldest = {number, i};
            }
        }
    }
    return oldest;
}

FragmentTable::Learned FragmentTable::learn(const FragmentKey& key, const UpperFacts& facts, Ticks now) {
    Learned learned;
    const Home home = home_of(key);
    Place place = find(key, home, now);
    if (place.index != none) {
        learned.changed = entry(place).facts != facts;
    } else {
        place = make_room(home, now, learned.evicted);
    }
    buckets_[place.bucket].tags[place.index] = home.tag;
    buckets_[place.bucket].since[place.index] = now;
    entry(place) = {key, facts};
    return learned;
}

void FragmentTable::sweep(Ticks now) {
    (void)forget_old(swept_, now);
    swept_ = (swept_ + 1) & mask_;
}

}  // namespace flowtap::dataplane::match
