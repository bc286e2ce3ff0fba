// Nobody can see headers that are not written yet.
#include "dataplane/match/frame_parser.h"
#include "dataplane/match/headers.h"
#include "test/support/facts_of.h"
#include "test/support/packets.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

Frame view_of(const Bytes& bytes) {
    const auto size = static_cast<std::uint32_t>(bytes.size());
    return {bytes.data(), size, size};
}

// Each kind that the parser postpones.
std::vector<Bytes> postponed_frames() {
    return {Packet().ipv4().udp({.source_port = 5, .dest_port = 6}).frame(60),
            Packet().ipv4().icmp().payload(10).frame(),
            Packet().ipv4().raw(47, Bytes(20, 9)).frame(),
            Packet().ipv4({.options = Bytes(40, 1)}).tcp().frame(),
            Packet().vlan({.id = 7}).ipv4().tcp().frame(),
            Packet().vlan().vlan().vlan().vlan({.id = 9}).ipv4({.options = Bytes(8, 1)}).udp().frame(),
            Packet().ipv6().udp({.source_port = 5, .dest_port = 6}).payload(10).frame(),
            Packet().vlan({.id = 8}).vlan().ipv6().icmpv6().frame(),
            Packet().ipv6().raw(50, Bytes(20, 9)).frame()};
}

TEST_CASE("headers are written when they are asked for, and are the frame's", "[parser][lazy]") {
    const std::vector<Bytes> frames = postponed_frames();
    std::vector<Frame> views;
    std::ranges::transform(frames, std::back_inserter(views), view_of);
    const auto burst = std::make_unique<HeaderBurst>();
    // What the last burst left here is another frame's.
    const Bytes other = Packet().raw(0x0806, Bytes(46, 0)).frame();
    parse_burst(std::vector<Frame>(max_burst, view_of(other)), *burst);

    parse_burst(views, *burst);
    REQUIRE(burst->headers.pending() == (std::uint64_t{1} << frames.size()) - 1);
    for (std::size_t i = frames.size(); i-- > 0;) {
        INFO("frame " << i);
        const Headers& headers = std::as_const(*burst).headers[i];
        const Headers wanted = parse_frame(views[i]);
        CHECK(burst->headers.pending() == (std::uint64_t{1} << i) - 1);
        CHECK(reading_of(headers) == reading_of(wanted));
        CHECK(headers.flags == wanted.flags);
        CHECK(headers.outer_vlan == wanted.outer_vlan);
        CHECK(headers.inner_vlan == wanted.inner_vlan);
    }
}

TEST_CASE("where its packet lies is told of every frame as its headers tell it", "[parser][lazy]") {
    std::vector<Bytes> frames = postponed_frames();
    frames.push_back(Packet().raw(0x0806, Bytes(46, 0)).frame());
    frames.push_back(Packet().vlan({.id = 5}).ipv4({.more_fragments = true}).udp().frame());
    std::vector<Frame> views;
    std::ranges::transform(frames, std::back_inserter(views), view_of);
    const auto burst = std::make_unique<HeaderBurst>();
    parse_burst(views, *burst);
    for (std::size_t i = 0; i < frames.size(); ++i) {
        INFO("frame " << i);
        const Headers wanted = parse_frame(views[i]);
        const bool is_packet = matchable(wanted.verdict);
        for (int again = 0; again < 2; ++again) {
            const PacketPlace packet = std::as_const(*burst).headers.packet(i);
            CHECK(packet.length == (is_packet ? wanted.l3_length : 0));
            CHECK(packet.offset == (is_packet ? wanted.l3_offset : 0));
            (void)std::as_const(*burst).headers[i];
        }
    }
}

TEST_CASE("a frame whose bytes are kept elsewhere may be asked for when the others are gone",
          "[parser][lazy]") {
    std::vector<Bytes> frames = postponed_frames();
    const std::vector<Bytes> kept = frames;
    std::vector<Frame> views;
    std::ranges::transform(frames, std::back_inserter(views), view_of);
    const auto burst = std::make_unique<HeaderBurst>();
    parse_burst(views, *burst);
    for (std::size_t i = 0; i < frames.size(); ++i) {
        burst->headers.move(i, kept[i].data());
        std::ranges::fill(frames[i], std::uint8_t{0xff});
    }
    burst->headers.close((std::uint64_t{1} << frames.size()) - 1);
    for (std::size_t i = 0; i < frames.size(); ++i) {
        INFO("frame " << i);
        const Headers wanted = parse_frame(view_of(kept[i]));
        CHECK(burst->headers.packet(i).length == wanted.l3_length);
        CHECK(reading_of(burst->headers[i]) == reading_of(wanted));
    }
}

TEST_CASE("headers that were changed stay so, and a burst starts anew", "[parser][lazy]") {
    const Bytes first = Packet().ipv4().udp({.source_port = 5, .dest_port = 6}).frame(60);
    const Bytes second = Packet().ipv4().udp({.source_port = 7, .dest_port = 8}).frame(60);
    const Frame before = view_of(first);
    const Frame after = view_of(second);
    const auto burst = std::make_unique<HeaderBurst>();
    parse_burst(std::span(&before, 1), *burst);
    burst->headers[0].dest_port = 99;
    CHECK(burst->headers[0].source_port == 5);
    CHECK(burst->headers[0].dest_port == 99);
    burst->headers.close(0);  // what is written may be asked for when the frames are gone
    CHECK(burst->headers[0].dest_port == 99);
    parse_burst(std::span(&after, 1), *burst);
    CHECK(burst->headers[0].source_port == 7);
    CHECK(burst->headers[0].dest_port == 8);
}

TEST_CASE("a frame that is parsed anew is not the pending one any more", "[parser][lazy]") {
    const Bytes first = Packet().ipv4().udp({.source_port = 5, .dest_port = 6}).frame(60);
    const Bytes second = Packet().vlan({.id = 3}).ipv6().udp({.source_port = 7, .dest_port = 8}).frame();
    const Frame view = view_of(first);
    const auto burst = std::make_unique<HeaderBurst>();
    parse_burst(std::span(&view, 1), *burst);
    parse_again(view_of(second), 0, *burst);
    CHECK(burst->headers.pending() == 0);
    CHECK(reading_of(burst->headers[0]) == reading_of(parse_frame(view_of(second))));
}

}  // namespace
}  // namespace flowtap::test
