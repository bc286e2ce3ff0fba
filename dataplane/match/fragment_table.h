// What first fragments say of their datagrams: later ones have no ports, and are completed from here.
//
// A hash table of fixed size with two buckets for each key, so that it is nearly full before a bucket is: a
// look-up touches at most two lines of tags and the entries whose tag agrees. Where both buckets are full,
// the oldest of their entries makes room. Nothing is ever allocated after the start.
//
// Time is in ticks of the caller's, compared by their difference: sweep() forgets entries long before ticks
// come round.
//
// Thread safety: one worker's own.
#pragma once

#include "dataplane/match/headers.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

namespace flowtap::dataplane::match {

using Ticks = std::uint32_t;

/// One datagram: RFC 791 section 3.2, RFC 8200 section 4.5 (the protocol is not part of it), and where it
/// came in.
struct FragmentKey {
    std::array<std::uint8_t, 16> source{};
    std::array<std::uint8_t, 16> dest{};
    std::uint32_t id = 0;
    std::uint32_t vlans = 0;     ///< ids of the outer and the inner tag, how many tags, and the family
    std::uint16_t port = 0;      ///< HeaderBurst::port
    std::uint16_t protocol = 0;  ///< of IPv4 only

    bool operator==(const FragmentKey&) const = default;
};
static_assert(sizeof(FragmentKey) == 44);

/// Of a fragment that came in at `port`.
FragmentKey fragment_key(const Headers& headers, std::uint16_t port);

/// Keyed, so that nobody outside can choose datagrams that collide.
class FragmentHash {
  public:
    explicit FragmentHash(std::uint64_t seed);
    std::uint64_t operator()(const FragmentKey& key) const;

  private:
    std::array<std::uint64_t, 6> secrets_{};
};

/// What a first fragment has and later ones have not; as in Headers.
struct UpperFacts {
    std::uint16_t source_port = 0;
    std::uint16_t dest_port = 0;
    std::uint16_t protocol = 0;
    std::uint8_t icmp_type = 0;
    std::uint8_t icmp_code = 0;

    bool operator==(const UpperFacts&) const = default;
};

/// A first fragment that says all of it. One that ends too early, or hides its protocol behind extension
/// headers that it does not hold (forbidden by RFC 7112), says nothing.
constexpr bool tells_upper(const Headers& headers) {
    return (headers.flags & flag::first_fragment) != 0 && headers.verdict == Verdict::ok;
}
UpperFacts upper_of(const Headers& headers);

/// Gives a later fragment what its first one says. It stays a later fragment (flag::later_fragment).
void complete(Headers& headers, const UpperFacts& facts);

class FragmentTable {
  public:
    struct Options {
        std::size_t buckets = 16'384;  ///< a power of two, at most 2^24; each has bucket_size entries
        Ticks lifetime = 1;            ///< of an entry, from the last first fragment on
        std::uint64_t seed = 0;
        std::pmr::memory_resource* memory = std::pmr::new_delete_resource();
    };
    static constexpr std::size_t bucket_size = 8;

    /// Throws std::bad_alloc.
    explicit FragmentTable(const Options& options);

    /// Of learn().
    struct Learned {
        bool changed = false;  ///< the datagram was known with other facts; the newest are kept
        bool evicted = false;  ///< another datagram was forgotten before its time
    };
    Learned learn(const FragmentKey& key, const UpperFacts& facts, Ticks now);
    /// Null: not known. Valid until the next call of learn().
    const UpperFacts* find(const FragmentKey& key, Ticks now) const;
    /// Forgets what is past its time in the next bucket; to be called now and then.
    void sweep(Ticks now);
    /// Entries, those included that are past their time and not swept.
    std::size_t size() const { return size_; }

  private:
    struct alignas(64) Bucket {
        std::array<std::uint32_t, bucket_size> tags{};  ///< 0: free
        std::array<Ticks, bucket_size> since{};
    };
    struct alignas(64) Entry {
        FragmentKey key;
        UpperFacts facts;
    };
    /// Where a key may be, and what its tag is.
    struct Home {
        std::array<std::size_t, 2> buckets;
        std::uint32_t tag;
    };
    struct Place {
        std::size_t bucket = 0;
        std::size_t index = 0;
    };
    static constexpr std::size_t none = bucket_size;

    Home home_of(const FragmentKey& key) const;
    Place find(const FragmentKey& key, const Home& home, Ticks now) const;
    Place make_room(const Home& home, Ticks now, bool& evicted);
    std::size_t forget_old(std::size_t bucket, Ticks now);
    bool is_old(const Bucket& bucket, std::size_t index, Ticks now) const {
        return now - bucket.since[index] >= lifetime_;
    }
    Entry& entry(const Place& place) { return entries_[place.bucket * bucket_size + place.index]; }
    const Entry& entry(const Place& place) const {
        return entries_[place.bucket * bucket_size + place.index];
    }

    FragmentHash hash_;
    Ticks lifetime_;
    std::size_t mask_;
    std::size_t size_ = 0;
    std::size_t swept_ = 0;  // the next bucket of sweep()
    std::pmr::vector<Bucket> buckets_;
    std::pmr::vector<Entry> entries_;
};

}  // namespace flowtap::dataplane::match
