// One frame through the parser and a fixed table, in every variant that the processor has, against the
// reference, which shares no code with them: in one buffer, and in as many as the input says. Each buffer is
// memory of its own size, so that a read beyond it is seen.
//
// A byte says how often the frame is cut, two bytes each say where; then comes the frame.
#include "dataplane/match/burst_reader.h"
#include "dataplane/match/frame_parser.h"
#include "dataplane/match/inner_parser.h"
#include "dataplane/match/tap_table.h"
#include "test/fuzz/input.h"
#include "test/support/facts_of.h"
#include "test/support/random_traffic.h"
#include "test/support/reference_match.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace flowtap;
using namespace flowtap::dataplane::match;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::abort();
}

lib::AddressTerm range(std::string_view first, std::string_view last, bool negated = false) {
    return {lib::parse_address(first).value(), lib::parse_address(last).value(), negated};
}

/// Around the addresses and ports of the corpus, and some at random.
std::vector<lib::Criterion> criteria() {
    std::vector<lib::Criterion> list(8);
    list[0].source_address = {range("192.0.2.1", "192.0.2.1")};
    list[1].dest_address = {range("198.51.100.0", "198.51.100.255"),
                            range("198.51.100.7", "198.51.100.9", true)};
    list[1].dest_port = {{80, 80, false}, {443, 443, false}};
    list[2].source_address = {range("192.0.0.0", "192.255.255.255")};
    list[2].protocol = {{6, 6, true}};
    list[3].icmp_type = {{8, 8, false}};
    list[4].family = lib::Family::ipv6;
    list[4].source_address = {range("2001:db8::", "2001:db8::ffff")};
    list[5].family = lib::Family::ipv6;
    list[5].dest_address = {range("2001:db8::2", "2001:db8::2")};
    list[5].protocol = {{6, 17, false}};
    list[6].family = lib::Family::ipv6;
    list[6].source_address = {range("2001:db8::1", "2001:db8::1", true)};
    list[6].source_port = {{1, 2000, false}};
    list[7].family = lib::Family::ipv6;
    list[7].icmp_code = {{0, 3, false}};
    test::RandomTraffic traffic(1, 6);
    while (list.size() < 56) {
        list.push_back(traffic.criterion(false));
    }
    for (const bool layer2 : {false, true}) {
        for (const std::uint16_t vlan : {std::uint16_t{0}, std::uint16_t{100}, lib::any_vlan}) {
            list.emplace_back().interfaces = {{0, vlan}, {1, 5}};
            list.back().layer2 = layer2;
        }
    }
    return list;
}

struct Tables {
    Quiescence quiescence{1};
    std::vector<lib::Criterion> taps = criteria();
    std::vector<std::unique_ptr<TapTable>> variants;
    std::unique_ptr<HeaderBurst> burst = std::make_unique<HeaderBurst>();
    std::unique_ptr<Matches> matches = std::make_unique<Matches>();

    Tables() {
        for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
            if (!supported(simd)) {
                continue;
            }
            variants.push_back(
                std::make_unique<TapTable>(quiescence, TapTable::Options{.max_taps = 64, .simd = simd}));
            for (std::uint32_t i = 0; i < taps.size(); ++i) {
                if (!variants.back()->stage_add(lib::TapSlot{i}, lib::TapId{i + 1}, taps[i], Payload{i})) {
                    fail("a criterion was refused");
                }
            }
            (void)variants.back()->commit();
        }
    }
};

void check_matches(Tables& tables, const TapTable& table, const std::vector<std::uint64_t>& wanted) {
    table.classify(*tables.burst, *tables.matches);
    std::vector<std::uint64_t> found;
    if (tables.matches->matched != 0) {
        for (const Match& match : tables.matches->frames[0]) {
            found.push_back(static_cast<std::uint64_t>(match.payload));
        }
    }
    std::ranges::sort(found);
    if (found != wanted) {
        fail("the table finds other taps than the reference, variant " +
             std::string(to_string(table.simd())));
    }
}

/// A frame in buffers, the first one too: nothing but their links is filled in that a reader may ask for.
struct Chain {
    std::vector<std::unique_ptr<std::uint8_t[]>> bytes;
    std::vector<rte_mbuf> buffers;

    /// `cuts` is sorted; buffers may be empty.
    Chain(std::span<const std::uint8_t> frame, const std::vector<std::size_t>& cuts)
        : buffers(cuts.size() + 1) {
        std::size_t begin = 0;
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            const std::size_t end = i < cuts.size() ? cuts[i] : frame.size();
            bytes.push_back(std::make_unique<std::uint8_t[]>(end - begin));
            std::copy(frame.begin() + static_cast<std::ptrdiff_t>(begin),
                      frame.begin() + static_cast<std::ptrdiff_t>(end), bytes.back().get());
            rte_mbuf& buffer = buffers[i];
            std::memset(static_cast<void*>(&buffer), 0, sizeof buffer);
            buffer.buf_addr = bytes.back().get();
            buffer.data_len = static_cast<std::uint16_t>(end - begin);
            buffer.next = i + 1 < buffers.size() ? &buffers[i + 1] : nullptr;
            begin = end;
        }
        buffers.front().nb_segs = static_cast<std::uint16_t>(buffers.size());
        buffers.front().pkt_len = static_cast<std::uint32_t>(frame.size());
    }
};

/// The same frame in several buffers is the same frame, and has the same taps.
void check_chain(Tables& tables, std::span<const std::uint8_t> frame, const std::vector<std::size_t>& cuts,
                 const test::Reading& reading, const std::vector<std::uint64_t>& wanted) {
    if (frame.size() > UINT16_MAX) {
        return;  // more than a buffer holds
    }
    Chain chain(frame, cuts);
    rte_mbuf* const first = chain.buffers.data();
    for (const auto& table : tables.variants) {
        const std::uint64_t bytes = BurstReader(table->simd()).read(std::span(&first, 1), *tables.burst);
        if (test::reading_of(tables.burst->headers[0]) != reading || bytes != frame.size() ||
            (tables.burst->ipv4 | tables.burst->ipv6) != (reading.facts ? 1U : 0U) ||
            tables.burst->uneven != (reading.outcome == test::Outcome::matched_on_all ? 0U : 1U)) {
            fail("a frame in " + std::to_string(cuts.size() + 1) + " buffers is read otherwise");
        }
        check_matches(tables, *table, wanted);
    }
}

bool same(const Inner& one, const Inner& other) {
    return one.verdict == other.verdict && (one.verdict != InnerVerdict::parsed ||
                                            test::reading_of(one.headers) == test::reading_of(other.headers));
}

/// What is inside of a tunnel: read within the bound, and within the outer packet.
void check_inner(std::span<const std::uint8_t> frame, const std::uint8_t* exact) {
    constexpr InnerTunnels all{.gre = true, .gtp_u = true, .vxlan = true};
    const auto length = static_cast<std::uint32_t>(frame.size());
    const Frame whole{exact, length, length};
    const Headers outer = parse_frame(whole);
    if (!matchable(outer.verdict)) {
        return;
    }
    const Inner inner = parse_inner(all, whole, outer);
    if (parse_inner({}, whole, outer).verdict != InnerVerdict::none) {
        fail("a tunnel is looked into that nobody asked for");
    }
    const bool is_whole = (outer.flags & (flag::first_fragment | flag::later_fragment)) == 0;
    if (inner.verdict == InnerVerdict::parsed && is_whole && inner.headers.l3_length >= outer.l3_length) {
        fail("an inner packet is as long as the outer one");
    }
    const std::uint32_t readable = std::min(length, inner_header_bound);
    const auto beginning = std::make_unique<std::uint8_t[]>(readable);
    std::copy_n(frame.data(), readable, beginning.get());
    if (!same(parse_inner(all, {beginning.get(), readable, length}, outer), inner)) {
        fail("a byte beyond the bound changes what is read inside");
    }
    const std::uint32_t less = readable == 0 ? 0 : frame[frame.size() / 2] % readable;
    const auto cut = std::make_unique<std::uint8_t[]>(less);
    std::copy_n(frame.data(), less, cut.get());
    (void)parse_inner(all, {cut.get(), less, length}, outer);  // nothing beyond may be read
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input_data, std::size_t input_size) {
    static Tables tables;
    fuzz::Input input(input_data, input_size);
    std::vector<std::size_t> cuts(input.byte() % 16);
    std::ranges::generate(cuts, [&] { return input.number(); });
    const std::uint8_t* const data = input.rest().data();
    const std::size_t size = input.rest().size();
    std::ranges::for_each(cuts, [&](std::size_t& cut) { cut %= size + 1; });
    std::ranges::sort(cuts);
    const auto exact = std::make_unique<std::uint8_t[]>(size);
    std::copy_n(data, size, exact.get());
    const auto length = static_cast<std::uint32_t>(size);
    const Frame frame{exact.get(), length, length};

    const test::Reading reading = test::reference_parse({data, size});
    std::vector<std::uint64_t> wanted;
    for (std::size_t i = 0; i < tables.taps.size(); ++i) {
        if (test::reference_matches(tables.taps[i], reading.facts, {0, test::reference_vlan({data, size})})) {
            wanted.push_back(i);
        }
    }
    parse_burst(std::span(&frame, 1), *tables.burst);
    if (test::reading_of(parse_frame(frame)) != reading ||
        test::reading_of(tables.burst->headers[0]) != reading) {
        fail("the parser reads another thing than the reference");
    }
    for (const auto& table : tables.variants) {
        parse_burst(std::span(&frame, 1), *tables.burst, common_function(table->simd()));
        check_matches(tables, *table, wanted);
    }
    check_inner({data, size}, exact.get());
    check_chain(tables, {data, size}, cuts, reading, wanted);
    // The same frame with only its beginning in reach: whatever comes out, nothing beyond may be read.
    const auto readable = static_cast<std::uint32_t>(cuts.empty() ? size / 2 : cuts.front());
    const auto beginning = std::make_unique<std::uint8_t[]>(readable);
    std::copy_n(data, readable, beginning.get());
    const Frame part{beginning.get(), readable, length};
    const test::Reading parts = test::reading_of(parse_frame(part));
    for (const auto& table : tables.variants) {
        parse_burst(std::span(&part, 1), *tables.burst, common_function(table->simd()));
        if (test::reading_of(tables.burst->headers[0]) != parts) {
            fail("a burst of the frame's beginning reads another thing than the parser");
        }
    }
    return 0;
}
