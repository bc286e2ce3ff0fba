#include "dataplane/match/chained_frames.h"

#include "dataplane/match/burst_reader.h"
#include "dataplane/match/frame_parser.h"
#include "test/support/facts_of.h"
#include "test/support/packets.h"
#include "test/support/random_traffic.h"
#include "test/unit/dataplane/match/frame_kinds.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

// A frame in buffers of its own sizes, so that ASan sees the first byte beyond each.
class Chain {
  public:
    // `parts`: where all buffers but the first begin, in order.
    Chain(const Bytes& bytes, std::vector<std::size_t> parts) {
        parts.insert(parts.begin(), 0);
        for (std::size_t i = 0; i < parts.size(); ++i) {
            const std::size_t end = i + 1 < parts.size() ? parts[i + 1] : bytes.size();
            const std::size_t size = end - parts[i];
            memory_.push_back(std::make_unique<std::uint8_t[]>(size));
            std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(parts[i]), size, memory_.back().get());
            rte_mbuf& mbuf = *mbufs_.emplace_back(std::make_unique<rte_mbuf>());
            std::memset(static_cast<void*>(&mbuf), 0, sizeof mbuf);
            mbuf.buf_addr = memory_.back().get();
            mbuf.data_len = static_cast<std::uint16_t>(size);
            if (i > 0) {
                mbufs_[i - 1]->next = &mbuf;
            }
        }
        mbufs_[0]->pkt_len = static_cast<std::uint32_t>(bytes.size());
        mbufs_[0]->nb_segs = static_cast<std::uint16_t>(parts.size());
    }
    rte_mbuf* mbuf() const { return mbufs_.front().get(); }

  private:
    std::vector<std::unique_ptr<std::uint8_t[]>> memory_;
    std::vector<std::unique_ptr<rte_mbuf>> mbufs_;
};

// As a worker does.
void parse(std::span<rte_mbuf* const> frames, HeaderBurst& burst) {
    std::uint64_t bytes = 0;
    for (const rte_mbuf* frame : frames) {
        bytes += frame->pkt_len;
    }
    REQUIRE(BurstReader(best_simd()).read(frames, burst) == bytes);
}

void require_same(const HeaderBurst& burst, std::size_t i, const Headers& wanted) {
    const Headers& headers = burst.headers[i];
    REQUIRE(reading_of(headers) == reading_of(wanted));
    REQUIRE(headers.flags == wanted.flags);
    REQUIRE(headers.vlan_tags == wanted.vlan_tags);
    REQUIRE(headers.outer_vlan == wanted.outer_vlan);
    REQUIRE(headers.inner_vlan == wanted.inner_vlan);
    const bool match = matchable(wanted.verdict);
    const bool ipv4 = wanted.family == lib::Family::ipv4;
    REQUIRE((burst.ipv4 >> i & 1) == (match && ipv4 ? 1 : 0));
    REQUIRE((burst.ipv6 >> i & 1) == (match && !ipv4 ? 1 : 0));
    REQUIRE((burst.uneven >> i & 1) == (wanted.verdict != Verdict::ok ? 1 : 0));
    const bool fragment = (wanted.flags & (flag::first_fragment | flag::later_fragment)) != 0;
    REQUIRE((burst.fragments >> i & 1) == (fragment ? 1 : 0));
    if (fragment) {
        REQUIRE(headers.fragment_id == wanted.fragment_id);
        REQUIRE(headers.fragment_offset == wanted.fragment_offset);
    }
    if (match && ipv4) {
        REQUIRE(burst.source4[i] ==
                (std::uint32_t{wanted.source[0]} << 24 | std::uint32_t{wanted.source[1]} << 16 |
                 std::uint32_t{wanted.source[2]} << 8 | wanted.source[3]));
        REQUIRE((burst.dest4[i] & 0xff) == wanted.dest[3]);
    }
}

Headers parse_whole(const Bytes& bytes) {
    const auto size = static_cast<std::uint32_t>(bytes.size());
    return parse_frame({bytes.data(), size, size});
}

// The caps together: the most bytes of headers that there can be.
Bytes longest_headers() {
    Packet packet;
    packet.vlan().vlan().vlan().vlan();
    for (int labels = 0; labels < 16; ++labels) {
        packet.mpls();
    }
    packet.control_word().ethernet().vlan().vlan().vlan().vlan().pppoe().ipv6();
    packet.hop_by_hop({.size = 504}).dest_options().tcp({.source_port = 7, .dest_port = 8});
    return packet.payload(200).frame();
}

std::vector<Bytes> kinds() {
    std::vector<Bytes> frames = every_kind();
    frames.push_back(longest_headers());
    frames.push_back(Packet().ipv6().hop_by_hop({.size = 512}).fragment({.offset = 9}).udp().frame());
    return frames;
}

TEST_CASE("a frame that is split anywhere is read as the whole one", "[parser][chained]") {
    const auto burst = std::make_unique<HeaderBurst>();
    for (const Bytes& bytes : kinds()) {
        const Headers whole = parse_whole(bytes);
        for (std::size_t at = 0; at <= bytes.size(); ++at) {
            INFO("frame of " << bytes.size() << " bytes, split at " << at);
            const Chain chain(bytes, {at});
            rte_mbuf* const frame = chain.mbuf();
            parse(std::span(&frame, 1), *burst);
            require_same(*burst, 0, whole);
        }
    }
}

TEST_CASE("a frame in buffers of a byte or a few is read as the whole one", "[parser][chained]") {
    const auto burst = std::make_unique<HeaderBurst>();
    for (const Bytes& bytes : kinds()) {
        for (const std::size_t step : {1U, 2U, 3U, 7U, 64U}) {
            std::vector<std::size_t> parts;
            for (std::size_t at = step; at < bytes.size(); at += step) {
                parts.push_back(at);
            }
            INFO("frame of " << bytes.size() << " bytes in parts of " << step);
            const Chain chain(bytes, parts);
            rte_mbuf* const frame = chain.mbuf();
            parse(std::span(&frame, 1), *burst);
            require_same(*burst, 0, parse_whole(bytes));
        }
    }
}

TEST_CASE("the caps together are what header_bound says", "[parser][chained]") {
    const Bytes bytes = longest_headers();
    const Headers whole = parse_whole(bytes);
    CHECK(whole.verdict == Verdict::ok);
    CHECK(whole.source_port == 7);
    CHECK(whole.l4_offset == header_bound - 8);
    CHECK(parse_frame({bytes.data(), header_bound, static_cast<std::uint32_t>(bytes.size())}).source_port ==
          7);
}

TEST_CASE("frames of a burst that are not chained stay as they are", "[parser][chained]") {
    RandomTraffic traffic(5, 8);
    const auto burst = std::make_unique<HeaderBurst>();
    for (int round = 0; round < 200; ++round) {
        std::vector<Bytes> frames;
        std::vector<Chain> chains;
        std::vector<rte_mbuf*> mbufs;
        for (std::size_t i = 0; i < max_burst; ++i) {
            const auto sample = traffic.chance(80) ? traffic.frame() : traffic.strange_frame();
            frames.push_back(sample.frame);
            const std::size_t size = frames.back().size();
            chains.emplace_back(frames.back(), traffic.chance(50) ? std::vector<std::size_t>{}
                                                                  : std::vector{traffic.below(size + 1)});
            mbufs.push_back(chains.back().mbuf());
        }
        parse(mbufs, *burst);
        for (std::size_t i = 0; i < max_burst; ++i) {
            INFO("round " << round << " frame " << i);
            require_same(*burst, i, parse_whole(frames[i]));
        }
    }
}

}  // namespace
}  // namespace flowtap::test
