// Fragments of eight datagrams in any order, whole ones and damaged, with overlaps, tiny first ones,
// repetitions, waits and bursts, through a worker without DPDK (test/support/fragment_box.h), against a plain
// account (fragment_account.h): each tap gets each frame as often as the account says, and the counters are
// its.
//
// The first byte is how much room there is and where time begins. Then a byte is a step; what it needs
// follows.
#include "test/fuzz/fragment_account.h"
#include "test/fuzz/input.h"
#include "test/support/fragment_box.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using namespace flowtap;
using enum lib::WorkerCounter;
using fuzz::tapped_port;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::abort();
}

constexpr std::size_t most_frames = 200;
constexpr std::size_t most_steps = 400;
constexpr std::size_t burst_size = 8;
/// First fragments of fewer datagrams have room in the table, however they hash.
constexpr std::size_t always_known = dataplane::match::FragmentTable::bucket_size;

// Tables of the usual size take 20 ms to make.
dataplane::match::FragmentTracker::Options options(std::uint32_t places) {
    return {.clock_rate = test::FragmentBox::clock_rate, .seed = 1, .buckets = 16, .waiting = places};
}

// Even ones are IPv4; two of each family are of the tapped port, and differ in other things.
struct Datagram {
    std::uint16_t port;
    std::uint16_t vlan;
    std::uint16_t id;
};
constexpr std::array<Datagram, 8> datagrams{{{tapped_port, 0, 1},
                                             {tapped_port, 0, 1},
                                             {53, 0, 2},
                                             {53, 0, 2},
                                             {tapped_port, 3, 1},
                                             {tapped_port, 3, 1},
                                             {53, 3, 2},
                                             {53, 3, 2}}};

/// Bytes of the fragment's payload: some first ones do not hold their ports, some fragments overlap the next.
constexpr std::array<std::size_t, 8> sizes{16, 8, 24, 4, 3, 0, 64, 17};

/// A byte says of which datagram and whether its other port stands in it, one where in it, one what else.
test::Bytes fragment(fuzz::Input& input) {
    const std::uint8_t which = input.byte();
    const std::uint8_t where = input.byte();
    const std::uint8_t what = input.byte();
    const Datagram& datagram = datagrams[which % 8];
    const auto offset = static_cast<std::uint16_t>(where % 8);
    const bool more = (where & 8) == 0;
    const bool behind_options = (what & 8) != 0;
    const std::uint16_t port = (which & 8) == 0      ? datagram.port
                               : datagram.port == 53 ? tapped_port
                                                     : std::uint16_t{53};
    test::Bytes payload(sizes[what % 8], 0x5a);
    if (offset == 0) {
        const test::Bytes udp{0,
                              9,
                              static_cast<std::uint8_t>(port >> 8),
                              static_cast<std::uint8_t>(port),
                              0,
                              static_cast<std::uint8_t>(payload.size()),
                              0,
                              0};
        std::copy_n(udp.begin(), std::min(udp.size(), payload.size()), payload.begin());
    }
    test::Packet packet;
    if (datagram.vlan != 0) {
        packet.vlan({.id = datagram.vlan, .priority = static_cast<std::uint8_t>(what >> 5)});
    }
    if (which % 2 == 0) {
        packet.ipv4({.identification = datagram.id,
                     .more_fragments = more,
                     .fragment_offset = offset,
                     .options = test::Bytes(behind_options ? 4 : 0, 1),
                     .protocol = 17});
    } else {
        const std::uint8_t next = behind_options ? 60 : 17;
        packet.ipv6().fragment(
            {.offset = offset, .more = more, .identification = datagram.id, .next_header = next});
        if (behind_options && offset == 0) {
            packet.dest_options();
        }
    }
    return packet.raw(17, payload).frame((what & 16) != 0 ? 60 : 0);
}

/// Some bytes are others, or the end is not there.
test::Bytes damaged(test::Bytes frame, fuzz::Input& input) {
    const std::uint8_t how = input.byte();
    for (int i = 0; i < how % 4; ++i) {
        std::uint8_t& byte = frame[input.byte() % frame.size()];
        byte ^= input.byte();
    }
    if ((how & 0x80) != 0) {
        frame.resize(frame.size() - std::min<std::size_t>(frame.size(), how / 4 % 32));
    }
    frame.shrink_to_fit();
    return frame;
}

lib::Criterion criterion(lib::Family family, bool with_port) {
    lib::Criterion made;
    made.family = family;
    if (with_port) {
        made.dest_port = {{tapped_port, tapped_port, false}};
    }
    return made;
}

/// The worker and the account, which get the same.
class Pair {
  public:
    explicit Pair(std::uint8_t how) : Pair(1 + how % 8, (how & 8) != 0) {
        box_.add(0, criterion(lib::Family::ipv4, false));
        box_.add(1, criterion(lib::Family::ipv4, true));
        box_.add(2, criterion(lib::Family::ipv6, false));
        box_.add(3, criterion(lib::Family::ipv6, true));
        if ((how & 16) != 0) {
            // Two seconds before ticks of 32 bits come round: 2^52 cycles, of which the box begins at 2^40.
            constexpr std::uint64_t cycles = (std::uint64_t{1} << 52) - (std::uint64_t{1} << 40);
            box_.wait_ms(cycles / (test::FragmentBox::clock_rate / 1000) - 2000);
        }
    }

    bool full() const { return passed_ == most_frames; }
    void add(test::Bytes frame) {
        ++passed_;
        burst_.push_back(std::move(frame));
        if (burst_.size() == burst_size) {
            flush();
        }
    }
    void flush() {
        if (!burst_.empty()) {
            (void)box_.pass(burst_, port_);
            account_.pass(burst_, port_);
        }
        burst_.clear();
    }
    void change_port() {
        flush();
        port_ ^= 1;
    }
    void poll() {
        flush();
        (void)box_.poll();
        account_.poll();
    }
    void settle() {
        flush();
        box_.settle();
        account_.settle();
    }
    void wait(std::uint64_t units) {
        flush();
        box_.wait_ms(units * fuzz::time_unit_ms);
        account_.wait_ms(units * fuzz::time_unit_ms);
    }
    void stop() {
        flush();
        box_.stop();
        account_.stop();
    }

    void check() const {
        if (box_.kept() != 0) {
            fail("buffers are left");
        }
        const bool all_known = box_.count(fragments_table_full) == 0;
        if (!all_known && account_.datagrams() <= always_known) {
            fail("a datagram is forgotten for which there is room");
        }
        const fuzz::FragmentAccount::Counts counts{.completed = box_.count(fragments_completed),
                                                   .early = box_.count(fragments_early),
                                                   .resolved = box_.count(fragments_resolved),
                                                   .unresolved = box_.count(fragments_unresolved),
                                                   .held_full = box_.count(fragments_held_full),
                                                   .conflict = box_.count(fragments_conflict)};
        if (counts.early != counts.resolved + counts.unresolved + counts.held_full) {
            fail("the ledger of early fragments does not close");
        }
        if (all_known && counts != account_.counts()) {
            fail("the counters are not the account's");
        }
        for (std::size_t frame = 0; frame < passed_; ++frame) {
            const std::vector<std::uint32_t> found = box_.copied(frame);
            if (all_known ? found != account_.copied()[frame]
                          : std::ranges::adjacent_find(found) != found.end()) {
                fail("frame " + std::to_string(frame) + " was copied " + std::to_string(found.size()) +
                     " times, or for another tap");
            }
        }
    }

  private:
    Pair(std::uint32_t room, bool places_are_few)
        : box_(places_are_few ? 2 * room : room, options(places_are_few ? room : 2 * room)), account_(room) {}

    test::FragmentBox box_;
    fuzz::FragmentAccount account_;
    std::uint16_t port_ = 0;
    std::size_t passed_ = 0;
    std::vector<test::Bytes> burst_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    Pair pair(input.byte());
    for (std::size_t steps = 0; steps < most_steps && !input.empty() && !pair.full(); ++steps) {
        switch (input.byte() % 16) {
            case 0:
                pair.settle();
                break;
            case 1:
                pair.poll();
                break;
            case 2:
                pair.wait(input.byte());
                break;
            case 3:
                pair.flush();
                break;
            case 4:
                pair.change_port();
                break;
            case 5:
            case 6:
            case 7:
                pair.add(damaged(fragment(input), input));
                break;
            case 15: {
                const auto bytes = input.bytes(input.number() % 1515U);
                pair.add({bytes.begin(), bytes.end()});
                break;
            }
            default:
                pair.add(fragment(input));
        }
    }
    pair.stop();
    pair.check();
    return 0;
}
