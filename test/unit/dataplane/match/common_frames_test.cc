// What a burst says of its frames, in every variant, is what parse_frame says of each; and nothing beyond
// what is readable is read for it (under ASan: frames lie at the end of their memory).
#include "dataplane/match/common_frames.h"

#include "dataplane/match/byte_order.h"
#include "dataplane/match/frame_parser.h"
#include "test/support/facts_of.h"
#include "test/support/packets.h"
#include "test/support/random_traffic.h"
#include "test/support/recorded.h"
#include "test/unit/dataplane/match/frame_kinds.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

std::vector<Simd> variants() {
    std::vector<Simd> list;
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (supported(simd)) {
            list.push_back(simd);
        } else {
            WARN("this processor has no " << to_string(simd));
        }
    }
    return list;
}

// The reporters keep every assertion in memory, and there are millions of frames: what is compared says in a
// word what differs, and only that is asserted.

/// The field in which they differ; empty: none.
std::string_view difference(const Headers& headers, const Headers& wanted) {
    if (headers.verdict != wanted.verdict) {
        return "verdict";
    }
    if (headers.flags != wanted.flags) {
        return "flags";
    }
    if (headers.vlan_tags != wanted.vlan_tags || headers.outer_vlan != wanted.outer_vlan ||
        headers.inner_vlan != wanted.inner_vlan) {
        return "VLAN tags";
    }
    if (reading_of(headers) != reading_of(wanted)) {
        return "reading";
    }
    if (!matchable(wanted.verdict)) {
        return {};
    }
    if (headers.family != wanted.family || headers.source != wanted.source || headers.dest != wanted.dest) {
        return "addresses";
    }
    if (headers.l3_length != wanted.l3_length || headers.l3_offset != wanted.l3_offset ||
        headers.l4_offset != wanted.l4_offset) {
        return "place";
    }
    if (headers.protocol != wanted.protocol || headers.source_port != wanted.source_port ||
        headers.dest_port != wanted.dest_port || headers.icmp_type != wanted.icmp_type ||
        headers.icmp_code != wanted.icmp_code) {
        return "protocol, ports or ICMP fields";
    }
    const bool is_fragment = (wanted.flags & (flag::first_fragment | flag::later_fragment)) != 0;
    if (is_fragment &&
        (headers.fragment_id != wanted.fragment_id || headers.fragment_offset != wanted.fragment_offset)) {
        return "fragment";
    }
    return {};
}

/// Likewise, of what the burst knows of the frame before anybody asks for its headers.
std::string_view address_difference(const HeaderBurst& burst, std::size_t i, const Headers& wanted) {
    if (!matchable(wanted.verdict)) {
        return {};
    }
    if (wanted.family == lib::Family::ipv4) {
        const bool same = burst.source4[i] == load_be32(wanted.source.data()) &&
                          burst.dest4[i] == load_be32(wanted.dest.data());
        return same ? "" : "IPv4 addresses of the burst";
    }
    const std::uint8_t* const addresses = burst.addresses6[i];
    const bool same = std::equal(wanted.source.begin(), wanted.source.end(), addresses) &&
                      std::equal(wanted.dest.begin(), wanted.dest.end(), addresses + 16);
    return same ? "" : "IPv6 addresses of the burst";
}

/// Parses bursts, in each variant into one and the same place, so that what the last one left is in the way.
class Checker {
  public:
    void check(std::span<const Frame> frames) {
        for (const Simd simd : variants_) {
            CAPTURE(to_string(simd), frames.size());
            check(frames, simd);
        }
        SUCCEED();
    }

  private:
    void check(std::span<const Frame> frames, Simd simd) {
        HeaderBurst& burst = *burst_;
        {
            // The views are the parser's during the call only; the frames' bytes are so until the end.
            const std::vector<Frame> views(frames.begin(), frames.end());
            parse_burst(views, burst, common_function(simd));
        }
        const std::size_t count = std::min(frames.size(), max_burst);
        expect(burst.count == count, "count");
        std::uint64_t ipv4 = 0;
        std::uint64_t ipv6 = 0;
        std::uint64_t uneven = 0;
        std::uint64_t fragments = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint64_t bit = std::uint64_t{1} << i;
            const Headers wanted = parse_frame(frames[i]);
            if (matchable(wanted.verdict)) {
                (wanted.family == lib::Family::ipv4 ? ipv4 : ipv6) |= bit;
            }
            uneven |= wanted.verdict != Verdict::ok ? bit : 0;
            const bool is_fragment = (wanted.flags & (flag::first_fragment | flag::later_fragment)) != 0;
            fragments |= is_fragment ? bit : 0;
            std::string_view wrong = address_difference(burst, i, wanted);
            if (wrong.empty()) {
                wrong = difference(burst.headers[i], wanted);
            }
            if (wrong.empty() && (burst.headers.pending() & bit) != 0) {
                wrong = "still pending";
            }
            if (!wrong.empty()) {
                FAIL("frame " << i << " of " << count << ", " << frames[i].readable << " of "
                              << frames[i].length << " bytes readable: " << wrong);
            }
        }
        expect(burst.headers.pending() == 0, "pending");
        expect(burst.frames == (count == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1), "frames");
        expect(burst.ipv4 == ipv4, "ipv4");
        expect(burst.ipv6 == ipv6, "ipv6");
        expect(burst.uneven == uneven, "uneven");
        expect(burst.fragments == fragments, "fragments");
    }

    static void expect(bool right, std::string_view what) {
        if (!right) {
            FAIL("of the burst: " << what);
        }
    }

    std::vector<Simd> variants_ = variants();
    std::unique_ptr<HeaderBurst> burst_ = std::make_unique<HeaderBurst>();
};

/// Frames at the ends of memory of their own, and how they are shown to the parser.
class Frames {
  public:
    void add(const Bytes& bytes, std::size_t readable, std::size_t length) {
        exact_.emplace_back(bytes, readable);
        views_.push_back(exact_.back().frame(length));
    }
    void add(const Bytes& bytes) { add(bytes, bytes.size(), bytes.size()); }
    std::size_t size() const { return views_.size(); }

    /// All of them, in bursts of that many.
    void check(Checker& checker, std::size_t burst) const {
        for (std::size_t from = 0; from < views_.size(); from += burst) {
            checker.check(std::span(views_).subspan(from, std::min(burst, views_.size() - from)));
        }
    }

  private:
    std::vector<Exact> exact_;
    std::vector<Frame> views_;
};

Bytes common_frame(std::uint8_t number = 0) {
    Bytes frame = Packet().ipv4({.source = "192.0.2.7", .dest = "203.0.113.9"}).udp().frame(60);
    frame[29] = frame[33] = number;
    return frame;
}

TEST_CASE("a burst of any size, of frames of all kinds, is its frames one by one", "[parser][common]") {
    RandomTraffic traffic(21, 8);
    const std::vector<Bytes> kinds = every_kind();
    Checker checker;
    for (std::size_t count = 0; count <= max_burst + 3; ++count) {
        for (const unsigned common : {0U, 50U, 95U, 100U}) {
            Frames frames;
            for (std::size_t i = 0; i < count; ++i) {
                frames.add(traffic.chance(common) ? common_frame(static_cast<std::uint8_t>(i))
                           : traffic.chance(50)   ? traffic.frame().frame
                                                  : kinds[traffic.below(kinds.size())]);
            }
            frames.check(checker, max_burst + 3);
        }
    }
}

TEST_CASE("frames cut at every byte, and shown up to every byte, in bursts of any size", "[parser][common]") {
    Checker checker;
    std::vector<Bytes> kinds = every_kind();
    kinds.push_back(common_frame());
    for (const Bytes& whole : kinds) {
        Frames cut;
        Frames shown;
        for (std::size_t size = 0; size <= whole.size(); ++size) {
            cut.add(whole, size, size);
            shown.add(whole, size, whole.size());
        }
        for (const std::size_t burst : {1U, 7U, 16U, 32U, 64U}) {
            cut.check(checker, burst);
            shown.check(checker, burst);
        }
    }
}

TEST_CASE("each field that decides is looked at in every place of a burst", "[parser][common]") {
    std::vector<std::pair<Bytes, std::size_t>> kinds;  // and what is readable
    const auto add = [&](std::size_t at, unsigned value) {
        Bytes frame = common_frame(1);
        frame[at] = static_cast<std::uint8_t>(value);
        kinds.emplace_back(frame, frame.size());
    };
    for (unsigned bit = 0; bit < 8; ++bit) {
        for (const std::size_t at : {12U, 13U, 14U, 15U, 16U, 17U, 20U, 21U, 23U, 26U, 29U, 30U, 33U}) {
            add(at, common_frame(1)[at] ^ 1U << bit);
        }
    }
    for (const unsigned total : {0U, 19U, 20U, 21U, 22U, 23U, 24U, 25U, 45U, 46U, 47U, 60U, 255U}) {
        add(17, total);
    }
    for (std::size_t readable = 32; readable < 44; ++readable) {
        kinds.emplace_back(common_frame(1), readable);
    }
    Checker checker;
    for (const auto& [frame, readable] : kinds) {
        for (std::size_t place = 0; place < max_burst; place += 1 + place / 17) {
            Frames frames;
            for (std::size_t i = 0; i < max_burst; ++i) {
                const bool here = i == place;
                const Bytes& bytes = here ? frame : common_frame(static_cast<std::uint8_t>(i));
                frames.add(bytes, here ? readable : bytes.size(), bytes.size());
            }
            frames.check(checker, max_burst);
        }
    }
}

TEST_CASE("random, damaged and recorded frames are the same in every variant", "[parser][common]") {
    RandomTraffic traffic(22, 8);
    Checker checker;
    for (int round = 0; round < 1'000; ++round) {
        Frames frames;
        while (frames.size() < 40) {
            Bytes frame = traffic.chance(50) ? common_frame() : traffic.frame().frame;
            for (std::uint64_t changes = traffic.below(4); changes > 0; --changes) {
                frame[12 + traffic.below(std::min<std::size_t>(frame.size() - 12, 60))] =
                    static_cast<std::uint8_t>(traffic.below(256));
            }
            const std::size_t readable = traffic.chance(30) ? traffic.below(frame.size()) : frame.size();
            frames.add(frame, readable, traffic.chance(80) ? frame.size() : readable);
        }
        frames.check(checker, 40);
    }
    Frames recorded;
    for (const Bytes& frame : recorded_frames()) {
        recorded.add(frame);
    }
    recorded.check(checker, max_burst);
}

// Else all of the above might be true of scalar code alone.
TEST_CASE("every variant names the common frames, and no other", "[parser][common]") {
    RandomTraffic traffic(23, 8);
    const std::vector<Bytes> kinds = every_kind();
    for (int round = 0; round < 2'000; ++round) {
        std::vector<Bytes> frames(1 + traffic.below(max_burst));
        std::vector<Frame> views;
        std::uint64_t wanted = 0;
        for (std::size_t i = 0; i < frames.size(); ++i) {
            frames[i] = traffic.chance(50) ? common_frame() : kinds[traffic.below(kinds.size())];
            const auto size = static_cast<std::uint32_t>(frames[i].size());
            views.push_back({frames[i].data(), size, size});
            const Headers headers = parse_frame(views[i]);
            constexpr std::uint8_t fragment = flag::first_fragment | flag::later_fragment;
            const bool is_common = headers.verdict == Verdict::ok && headers.family == lib::Family::ipv4 &&
                                   headers.l3_offset == 14 && headers.l4_offset == 34 &&
                                   headers.vlan_tags == 0 && (headers.flags & fragment) == 0 &&
                                   headers.l3_length >= common_total;
            wanted |= std::uint64_t{is_common} << i;
        }
        for (const Simd simd : variants()) {
            CAPTURE(to_string(simd), frames.size());
            std::array<std::uint32_t, max_burst> source{};
            std::array<std::uint32_t, max_burst> dest{};
            std::array<Frame, max_burst> kept{};
            const CommonFields fields{source.data(), dest.data(), kept.data()};
            REQUIRE(common_function(simd)(views.data(), static_cast<std::uint32_t>(views.size()), fields) ==
                    wanted);
            std::uint64_t copied = 0;
            for_each_bit(wanted,
                         [&](std::size_t i) { copied |= std::uint64_t{kept[i].data == views[i].data} << i; });
            REQUIRE(copied == wanted);
        }
    }
}

}  // namespace
}  // namespace flowtap::test
