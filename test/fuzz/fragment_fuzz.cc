// Fragments of eight datagrams in any order, with repetitions, waits and bursts, through a worker without
// DPDK (test/support/fragment_box.h). Held against a plain account of which first fragment was known when: no
// tap gets a frame twice, or one that it does not match, and every early fragment ends in one of the
// counters.
//
// Two bytes are a step: what is done (three bits), which fragment of which datagram.
#include "test/support/fragment_box.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using namespace flowtap;
using enum lib::WorkerCounter;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::abort();
}

constexpr std::uint16_t tapped_port = 5060;
constexpr std::size_t room = 6;
// Tables of the usual size take 20 ms to make.
const dataplane::match::FragmentTracker::Options options{
    .clock_rate = test::FragmentBox::clock_rate, .seed = 1, .buckets = 4, .waiting = 2 * room};

// Even ones are IPv4; two of each family are of the tapped port, and differ in other things.
struct Datagram {
    std::uint16_t port;
    std::uint16_t vlan;
    std::uint16_t id;

    bool tapped() const { return port == tapped_port; }
};
constexpr Datagram datagrams[8]{{tapped_port, 0, 1}, {tapped_port, 0, 1}, {53, 0, 2}, {53, 0, 2},
                                {tapped_port, 3, 1}, {tapped_port, 3, 1}, {53, 3, 2}, {53, 3, 2}};

test::Bytes fragment(std::size_t number, std::uint16_t index) {
    const Datagram& datagram = datagrams[number];
    const bool more = index != 3;
    const auto offset = static_cast<std::uint16_t>(index * 2);
    test::Packet packet;
    if (datagram.vlan != 0) {
        packet.vlan({.id = datagram.vlan});
    }
    if (number % 2 == 0) {
        packet.ipv4({.identification = datagram.id,
                     .more_fragments = more,
                     .fragment_offset = offset,
                     .protocol = 17});
    } else {
        packet.ipv6().fragment(
            {.offset = offset, .more = more, .identification = datagram.id, .next_header = 17});
    }
    if (index == 0) {
        packet.udp({.source_port = 9, .dest_port = datagram.port});
    }
    return packet.payload(16).frame();
}

lib::Criterion criterion(lib::Family family, bool with_port) {
    lib::Criterion made;
    made.family = family;
    if (with_port) {
        made.dest_port = {{tapped_port, tapped_port, false}};
    }
    return made;
}

struct Passed {
    std::size_t frame;
    std::size_t datagram;
    bool known;  // its first fragment is known, or it is one
};

void check(const test::FragmentBox& box, const Passed& passed) {
    const std::uint32_t of_family = passed.datagram % 2 == 0 ? 0 : 2;
    const std::vector<std::uint32_t> all{of_family, of_family + 1};
    const std::vector<std::uint32_t> some{of_family};
    const auto copied = box.copied(passed.frame);
    if (!datagrams[passed.datagram].tapped()) {
        if (copied != some) {
            fail("a datagram of another port was copied, or not copied by its address");
        }
    } else if (copied != all && (passed.known || copied != some)) {
        fail("a fragment of the tapped port was not copied, or twice");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    test::FragmentBox box(room, options);
    box.add(0, criterion(lib::Family::ipv4, false));
    box.add(1, criterion(lib::Family::ipv4, true));
    box.add(2, criterion(lib::Family::ipv6, false));
    box.add(3, criterion(lib::Family::ipv6, true));
    std::vector<Passed> passed;
    std::vector<std::uint64_t> first_at(8, 0);  // ms; 0: never
    std::uint64_t now = 10'000;
    std::vector<test::Bytes> burst;
    std::vector<std::size_t> burst_datagrams;
    const auto flush = [&] {
        if (!burst.empty()) {
            const std::size_t first = box.pass(burst);
            for (std::size_t i = 0; i < burst.size(); ++i) {
                const std::size_t datagram = burst_datagrams[i];
                passed.push_back(
                    {first + i, datagram, first_at[datagram] != 0 && now - first_at[datagram] < 4'900});
            }
        }
        burst.clear();
        burst_datagrams.clear();
    };
    for (std::size_t at = 0; at + 1 < std::min<std::size_t>(size, 400); at += 2) {
        const std::size_t datagram = data[at + 1] % 8;
        const auto index = static_cast<std::uint16_t>(data[at + 1] >> 3U & 3U);
        switch (data[at] % 8) {
            case 0:
                flush();
                box.settle();
                break;
            case 1:
                flush();
                (void)box.poll();
                break;
            case 2: {
                flush();
                const std::uint64_t wait = std::uint64_t{data[at + 1]} * 10;
                now += wait;
                box.wait_ms(wait);
                break;
            }
            default:
                burst.push_back(fragment(datagram, index));
                burst_datagrams.push_back(datagram);
                if (index == 0) {
                    first_at[datagram] = now;
                }
                if (burst.size() == 8) {
                    flush();
                }
        }
    }
    flush();
    box.stop();
    for (const Passed& each : passed) {
        check(box, each);
    }
    if (box.kept() != 0) {
        fail("buffers are left");
    }
    if (box.count(fragments_early) !=
        box.count(fragments_resolved) + box.count(fragments_unresolved) + box.count(fragments_held_full)) {
        fail("the ledger of early fragments does not close");
    }
    if (box.count(fragments_conflict) + box.count(fragments_table_full) != 0) {
        fail("what did not happen is counted");
    }
    return 0;
}
