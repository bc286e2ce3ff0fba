// Taps on what tunnels carry: each once, beside those of the outer packet, up to the bound.
#include "dataplane/inner_stage.h"

#include "dataplane/match/chained_frames.h"
#include "test/support/packets.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane;

constexpr std::uint16_t gre = 47;

lib::Criterion from(std::string_view source) {
    lib::Criterion criterion;
    const lib::IpAddress address = lib::parse_address(source).value();
    criterion.source_address = {{address, address, false}};
    return criterion;
}

/// A frame in one buffer or in two, which belong to no pool.
struct Buffers {
    Bytes bytes;
    std::vector<std::unique_ptr<rte_mbuf>> parts;

    explicit Buffers(Bytes frame, std::size_t first) : bytes(std::move(frame)) {
        first = std::min(first, bytes.size());
        for (const auto& [at, size] :
             {std::pair{std::size_t{0}, first}, std::pair{first, bytes.size() - first}}) {
            auto part = std::make_unique<rte_mbuf>();
            part->buf_addr = bytes.data() + at;
            part->data_len = static_cast<std::uint16_t>(size);
            part->nb_segs = 2;
            part->pkt_len = static_cast<std::uint32_t>(bytes.size());
            parts.push_back(std::move(part));
        }
        parts[0]->next = parts[1].get();
    }
};

struct Stage {
    match::Quiescence quiescence{1};
    match::TapTable taps{quiescence, {.max_taps = 256}};
    OwnFlows own_flows{quiescence};
    std::unique_ptr<lib::WorkerCounters> counters = std::make_unique<lib::WorkerCounters>();
    std::unique_ptr<InnerStage> stage = std::make_unique<InnerStage>(
        match::InnerTunnels{.gre = true, .gtp_u = true, .vxlan = true}, taps, own_flows, *counters);
    std::unique_ptr<match::HeaderBurst> burst = std::make_unique<match::HeaderBurst>();
    std::unique_ptr<match::Matches> matches = std::make_unique<match::Matches>();
    std::uint32_t count = 0;

    void tap(const lib::Criterion& criterion) {
        REQUIRE(taps.stage_add(lib::TapSlot{count}, lib::TapId{count + 1}, criterion, match::Payload{count}));
        ++count;
    }
    void run(const std::vector<Bytes>& frames, std::size_t first_buffer = 65'535) {
        (void)taps.commit();
        std::vector<std::unique_ptr<Buffers>> buffers;
        std::vector<rte_mbuf*> mbufs;
        std::vector<match::Frame> views;
        for (const Bytes& frame : frames) {
            buffers.push_back(std::make_unique<Buffers>(frame, first_buffer));
            mbufs.push_back(buffers.back()->parts[0].get());
            views.push_back(match::first_buffer(*mbufs.back()));
        }
        match::parse_burst(views, *burst);
        match::parse_chained(mbufs, *burst);
        taps.classify(*burst, *matches);
        stage->add_matches(mbufs, *burst, *matches);
    }
    /// Slots, each of which must be there once.
    std::set<std::uint32_t> found(std::size_t frame) const {
        std::set<std::uint32_t> slots;
        if ((matches->matched >> frame & 1) != 0) {
            for (const match::Match& match : matches->frames[frame]) {
                CHECK(slots.insert(static_cast<std::uint32_t>(match.slot)).second);
            }
        }
        return slots;
    }
    std::uint64_t counted(lib::WorkerCounter counter) const { return (*counters)[counter].load(); }
};

Bytes in_gre(std::string_view outer, std::string_view inner) {
    Bytes payload{0, 0, 0x08, 0};
    const Bytes frame = Packet().ipv4({.source = inner, .dest = "10.9.9.9"}).udp().payload(20).frame();
    payload.insert(payload.end(), frame.begin() + 14, frame.end());
    return Packet().ipv4({.source = outer}).raw(gre, payload).frame();
}

TEST_CASE("a tap sees a frame by its outer or its inner packet, once", "[inner]") {
    Stage stage;
    stage.tap(from("192.0.2.1"));
    stage.tap(from("10.0.0.1"));
    lib::Criterion both = from("192.0.2.1");
    both.source_address.push_back(from("10.0.0.1").source_address[0]);
    stage.tap(both);
    stage.run({in_gre("192.0.2.1", "10.0.0.1"), in_gre("192.0.2.9", "10.0.0.1"),
               in_gre("192.0.2.1", "10.0.0.9"), in_gre("192.0.2.9", "10.0.0.9"),
               Packet().ipv4({.source = "10.0.0.1"}).udp().payload(20).frame()});
    CHECK(stage.found(0) == std::set<std::uint32_t>{0, 1, 2});
    CHECK(stage.found(1) == std::set<std::uint32_t>{1, 2});
    CHECK(stage.found(2) == std::set<std::uint32_t>{0, 2});
    CHECK(stage.found(3).empty());
    CHECK(stage.found(4) == std::set<std::uint32_t>{1, 2});
    CHECK(stage.counted(lib::WorkerCounter::inner_parsed) == 4);
}

TEST_CASE("inner headers may lie in any buffer of a chain", "[inner]") {
    const Bytes frame = in_gre("192.0.2.9", "10.0.0.1");
    for (std::size_t first = 0; first <= frame.size(); ++first) {
        CAPTURE(first);
        Stage stage;
        stage.tap(from("10.0.0.1"));
        stage.run({frame}, first);
        CHECK(stage.found(0) == std::set<std::uint32_t>{0});
    }
}

TEST_CASE("taps beyond the bound are counted, whichever packet they match", "[inner]") {
    // Of the same 80 taps, some match the outer packet, some the inner one, ten both.
    for (const std::size_t outer : {0U, 10U, 40U, 64U, 70U}) {
        CAPTURE(outer);
        Stage stage;
        for (std::size_t i = 0; i < 80; ++i) {
            lib::Criterion criterion = from(i < outer ? "192.0.2.1" : "10.0.0.1");
            if (i < std::min<std::size_t>(outer, 10)) {
                criterion.source_address.push_back(from("10.0.0.1").source_address[0]);
            }
            stage.tap(criterion);
        }
        stage.run({in_gre("192.0.2.1", "10.0.0.1")});
        CHECK(stage.found(0).size() == match::max_matches);
        CHECK(stage.matches->frames[0].overflow == 80 - match::max_matches);
    }
}

TEST_CASE("the box's own output inside of a tunnel matches nothing", "[inner]") {
    Stage stage;
    stage.tap(from("10.0.0.1"));
    stage.tap(from("192.0.2.1"));
    FlowKey own{.source_port = 1024, .dest_port = 80, .protocol = 17};
    own.source = lib::parse_address("10.0.0.1").value().bytes;
    own.dest = lib::parse_address("10.9.9.9").value().bytes;
    REQUIRE(stage.own_flows.add_encapsulation(own));
    stage.run({in_gre("192.0.2.1", "10.0.0.1")});
    CHECK(stage.found(0) == std::set<std::uint32_t>{1});
    CHECK(stage.counted(lib::WorkerCounter::own_output) == 1);
}

TEST_CASE("what a tunnel does not show is counted by its cause", "[inner]") {
    using enum lib::WorkerCounter;
    Stage stage;
    stage.tap(from("10.0.0.1"));
    const Bytes good = in_gre("192.0.2.9", "10.0.0.1");
    Bytes routed = good;
    routed[14 + 20] = 0x40;
    Bytes cut = good;
    cut[14 + 20 + 4 + 3]++;  // the inner packet is longer than the outer one
    Bytes payload{0, 0, 0x08, 0};
    const Bytes fragment =
        Packet().ipv4({.source = "10.0.0.1", .fragment_offset = 3}).raw(17, Bytes(20)).frame();
    payload.insert(payload.end(), fragment.begin() + 14, fragment.end());
    stage.run({Packet().ipv4({.fragment_offset = 9}).raw(gre, Bytes(40)).frame(),
               Packet().ipv4().raw(gre, {0, 0, 0, 0}).frame(), routed, cut,
               Packet().ipv4().raw(gre, payload).frame()});
    CHECK(stage.counted(inner_later_fragments) == 1);
    CHECK(stage.counted(inner_not_ip) == 1);
    CHECK(stage.counted(inner_malformed) == 1);
    CHECK(stage.counted(inner_truncated) == 1);
    CHECK(stage.counted(inner_parsed) == 1);
    CHECK(stage.counted(inner_no_ports) == 1);
    CHECK(stage.matches->matched == 0b10000);
}

}  // namespace
}  // namespace flowtap::test
