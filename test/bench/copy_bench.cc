// What the parts of a copy cost that need no device: the frame held beyond its sending, the look whether it
// is own output, and the copy itself, headers and packet, in clear. The naive rows do the same with what
// stands behind the short ways: reference counts, the exact set, headers piece by piece.
#include "dataplane/encapsulation.h"
#include "dataplane/held_frames.h"
#include "dataplane/own_flows.h"
#include "dataplane/short_copy.h"
#include "test/bench/bench_rows.h"
#include "test/support/destination.h"

#include <rte_ip.h>
#include <rte_mbuf.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane;

constexpr std::size_t bursts = 64;
constexpr std::size_t frames = bursts * burst_size;
constexpr std::size_t room = 2048;
constexpr std::uint32_t ethernet = 14;

struct Bench {
    const Options& options;
    const Report& report;
    std::vector<std::uint8_t> from = std::vector<std::uint8_t>(frames * room);
    std::vector<std::uint8_t> to = std::vector<std::uint8_t>(burst_size * room);

    template <typename Run>
    void row(const std::string& name, Run run) const {
        if (options.wanted(name)) {
            report.print({.name = name, .simd = "-", .cycles = cycles_a_frame(bursts, run)});
        }
    }
};

void measure_copies(Bench& bench, lib::Family family, const std::string& suffix) {
    const Encapsulation encapsulation = make_encapsulation(some_destination(family));
    for (const std::uint32_t size : {60U, 1514U}) {
        const std::uint32_t length = size - ethernet;
        const auto each = [&](std::size_t burst, auto write) {
            for (std::size_t i = 0; i < burst_size; ++i) {
                const std::uint8_t* const body = &bench.from[(burst * burst_size + i) * room + ethernet];
                const Datagram datagram{
                    .body_length = length,
                    .body_sum = family == lib::Family::ipv6 ? rte_raw_cksum(body, length) : std::uint16_t{0},
                    .identification = static_cast<std::uint32_t>(burst)};
                write(datagram, &bench.to[i * room + ethernet], body);
            }
        };
        bench.row("copy" + suffix + "-" + std::to_string(size), [&](std::size_t burst) {
            each(burst, [&](const Datagram& datagram, std::uint8_t* place, const std::uint8_t* body) {
                write_whole(encapsulation, datagram, place);
                copy_bytes(place + encapsulation.size(), body, length);
            });
        });
        bench.row("copy" + suffix + "-naive-" + std::to_string(size), [&](std::size_t burst) {
            each(burst, [&](const Datagram& datagram, std::uint8_t* place, const std::uint8_t* body) {
                const Piece piece = next_piece(encapsulation, datagram, 0, 9000);
                write_piece(encapsulation, datagram, piece, place);
                std::memcpy(place + header_size(encapsulation, piece), body, piece.body_length());
            });
        });
    }
}

void measure_own_flows(Bench& bench) {
    match::Quiescence quiescence(1);
    OwnFlows flows(quiescence);
    const lib::TapDestination to = some_destination(lib::Family::ipv4);
    FlowKey own{.source = to.source_address, .dest = to.dest_address, .source_port = 6000, .protocol = 17};
    for (std::uint16_t port = 1; port <= 100; ++port) {
        own.dest_port = port;
        (void)flows.add_encapsulation(own);
    }
    std::mt19937 random(1);
    std::vector<match::Headers> headers(frames);
    for (match::Headers& one : headers) {
        one.protocol = 17;
        one.flags = match::flag::ports;
        one.source = {10, static_cast<std::uint8_t>(random()), static_cast<std::uint8_t>(random()), 1};
        one.dest = {11, static_cast<std::uint8_t>(random()), static_cast<std::uint8_t>(random()), 1};
    }
    std::uint64_t found = 0;
    const auto look = [&](std::size_t burst) {
        for (std::size_t i = 0; i < burst_size; ++i) {
            found += flows.contains(headers[burst * burst_size + i]) ? 1U : 0U;
        }
    };
    bench.row("own-clean", look);
    for (match::Headers& one : headers) {
        one.source = own.source;  // the filter says maybe
        one.dest = own.dest;
    }
    bench.row("own-exact", look);
    if (found != 0) {
        std::printf("own output where there is none\n");
    }
}

void measure_holding(Bench& bench) {
    std::vector<std::unique_ptr<rte_mbuf>> mbufs;
    for (std::size_t i = 0; i < frames; ++i) {
        auto mbuf = std::make_unique<rte_mbuf>();
        mbuf->buf_addr = &bench.from[i * room];
        mbuf->data_len = 60;
        mbuf->pkt_len = 60;
        mbuf->nb_segs = 1;
        rte_mbuf_refcnt_set(mbuf.get(), 1);
        mbufs.push_back(std::move(mbuf));
    }
    const auto held = std::make_unique<HeldFrames>();
    bench.row("hold-60", [&](std::size_t burst) {
        for (std::size_t i = 0; i < burst_size; ++i) {
            held->keep(*mbufs[burst * burst_size + i], i);
        }
        held->release();
    });
    // Without what it costs to give the buffer to its pool, which either way happens once.
    bench.row("hold-naive-60", [&](std::size_t burst) {
        for (std::size_t i = 0; i < burst_size; ++i) {
            rte_pktmbuf_refcnt_update(mbufs[burst * burst_size + i].get(), 1);
        }
        for (std::size_t i = 0; i < burst_size; ++i) {
            rte_pktmbuf_free(mbufs[burst * burst_size + i].get());  // the driver's
        }
    });
}

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    using namespace flowtap;
    const test::Options options = test::read_options(argc, argv, {});
    const test::Report report(options.json);
    test::Bench bench{.options = options, .report = report};
    test::measure_holding(bench);
    test::measure_own_flows(bench);
    test::measure_copies(bench, lib::Family::ipv4, "");
    test::measure_copies(bench, lib::Family::ipv6, "-ipv6");
    return 0;
}
