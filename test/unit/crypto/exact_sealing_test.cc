// Every byte of what is sealed, judged by OpenSSL and the RFCs' words: all suites and implementations, sizes
// up to jumbo frames, IPv4 and IPv6 inside and outside, sequence numbers of 32 and 64 bits, TFC padding, UDP,
// in place and gathered, in bursts.
#include "test/unit/crypto/exact_sa.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

namespace flowtap::test {
namespace {

using crypto::SealJob;
using crypto::SealVerdict;
using lib::SuiteInfo;
using View = std::span<const std::uint8_t>;

constexpr std::size_t guard = 32;  // bytes on each side of a packet that sealing has to leave alone
constexpr std::uint8_t untouched = 0xee;
constexpr std::uint32_t largest_burst = 64;

std::uint64_t number(View bytes) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes) {
        value = value << 8 | byte;
    }
    return value;
}

std::string first_difference(std::string_view what, View got, View expected) {
    const auto at = std::ranges::mismatch(got, expected).in1 - got.begin();
    return fmt::format("{} differs at byte {} of {} ({} expected)", what, at, got.size(), expected.size());
}

/// What is wrong with the sealed packet; empty: nothing.
std::string wrong_in(const DrawnSa& sa, const Bytes& inner, std::uint64_t counter, View packet) {
    const SuiteInfo& suite = *sa.suite;
    Bytes filled = inner;
    filled.resize(std::max<std::size_t>(inner.size(), sa.padded_length));  // zeros
    const Bytes expected = with_trailer(suite, filled, next_header_of(inner));
    const std::size_t around = std::size_t{8} + suite.iv_size + suite.icv_size;
    if (packet.size() != sa.outer.size() + around + expected.size()) {
        return fmt::format("{} bytes, not {}", packet.size(), sa.outer.size() + around + expected.size());
    }
    const View esp = packet.subspan(sa.outer.size());
    const Bytes headers = sa.outer.headers(ds_of(inner), static_cast<std::uint16_t>(counter), esp);
    if (!std::ranges::equal(packet.first(headers.size()), headers)) {
        return first_difference("the outer header", packet.first(headers.size()), headers);
    }
    if (number(esp.first(4)) != sa.spi) {
        return "another SPI";
    }
    if (number(esp.subspan(4, 4)) != (counter & UINT32_MAX)) {
        return "another sequence number";
    }
    if (suite.combined() && number(esp.subspan(8, 8)) != counter) {
        return "the IV is not the counter";
    }
    const auto plain = sa.oracle().open(esp, counter);
    if (!plain) {
        return "the ICV is wrong";
    }
    return *plain == expected ? "" : first_difference("the decrypted text", *plain, expected);
}

/// Packets on their way through the sealer, each in a buffer of its own.
struct Burst {
    std::vector<Bytes> inners;
    std::vector<Bytes> buffers;
    std::vector<SealJob> jobs;

    void add(std::mt19937_64& random, const crypto::OutboundSa& sa, Bytes packet) {
        const std::size_t header = packet[0] >> 4 == 4 ? 20 : 40;
        const bool gathered = random() % 2 == 0;
        const std::size_t in_place =
            gathered ? header + random() % (packet.size() - header + 1) : packet.size();
        Bytes& buffer = buffers.emplace_back(guard + sa.sealed_size(packet.size()) + guard, untouched);
        std::uint8_t* const place = buffer.data() + guard + sa.headroom();
        std::copy_n(packet.begin(), in_place, place);
        const Bytes& kept = inners.emplace_back(std::move(packet));
        jobs.push_back({.inner = place,
                        .length = static_cast<std::uint32_t>(kept.size()),
                        .room = static_cast<std::uint32_t>(buffer.size() - 2 * guard - sa.headroom()),
                        .body = gathered ? kept.data() + in_place : nullptr,
                        .body_length = static_cast<std::uint32_t>(gathered ? kept.size() - in_place : 0)});
    }

    std::string wrong_in_packet(std::size_t i, const DrawnSa& sa, std::uint64_t counter) const {
        const View buffer = buffers[i];
        const auto is_untouched = [](std::uint8_t byte) { return byte == untouched; };
        if (jobs[i].verdict != SealVerdict::sealed) {
            return "not sealed";
        }
        if (jobs[i].sealed != buffer.data() + guard || jobs[i].sealed_length != buffer.size() - 2 * guard) {
            return "not where it should be";
        }
        if (!std::ranges::all_of(buffer.first(guard), is_untouched) ||
            !std::ranges::all_of(buffer.last(guard), is_untouched)) {
            return "bytes beside it were written";
        }
        return wrong_in(sa, inners[i], counter, buffer.subspan(guard, jobs[i].sealed_length));
    }
};

/// Bytes that must never come twice under one key.
class Uniqueness {
  public:
    void add(View iv) { seen_.emplace_back(iv.begin(), iv.end()); }
    bool holds() {
        std::ranges::sort(seen_);
        return std::ranges::adjacent_find(seen_) == seen_.end();
    }

  private:
    std::vector<std::string> seen_;
};

/// One each: proving an engine takes longer than sealing a thousand packets.
crypto::Sealer& sealer_of(crypto::Implementation implementation) {
    static std::map<crypto::Implementation, crypto::Sealer> sealers;
    const auto found = sealers.find(implementation);
    return found != sealers.end()
               ? found->second
               : sealers.emplace(implementation, make_sealer(implementation)).first->second;
}

void seal_all_of(std::mt19937_64& random, crypto::Sealer& sealer, const DrawnSa& drawn, Deck& deck) {
    const auto sa = crypto::OutboundSa::create(sealer.engine(), drawn.outbound()).value();
    Uniqueness ivs;
    std::uint64_t counter = drawn.first;
    for (std::uint32_t left = drawn.packets; left > 0;) {
        const auto count = std::min(left, static_cast<std::uint32_t>(1 + random() % largest_burst));
        Burst burst;
        for (std::uint32_t i = 0; i < count; ++i) {
            burst.add(random, *sa, deck.next());
        }
        REQUIRE(sealer.seal_burst(sa->take(count), burst.jobs) == count);
        for (std::size_t i = 0; i < count; ++i, ++counter) {
            if (const std::string why = burst.wrong_in_packet(i, drawn, counter); !why.empty()) {
                FAIL(drawn.description()
                     << ", counter " << counter << ", " << burst.inners[i].size() << " bytes inside, number "
                     << i << " of a burst of " << count << ": " << why);
            }
            ivs.add(View(burst.buffers[i]).subspan(guard + drawn.outer.size() + 8, drawn.suite->iv_size));
        }
        left -= count;
    }
    REQUIRE(ivs.holds());
    REQUIRE(sa->take(1).count() == 0);  // every counter value was used
}

TEST_CASE("every byte of what is sealed is what OpenSSL and the RFCs say") {
    for (const SuiteInfo& suite : lib::suites) {
        DYNAMIC_SECTION(suite.name) {
            std::mt19937_64 random(101);
            Deck deck(random);
            const auto [associations, packets] = split(wanted_packets(suite));
            for (std::size_t number = 0; number < associations; ++number) {
                const DrawnSa drawn = draw_sa(random, suite, number, packets);
                seal_all_of(random, sealer_of(drawn.implementation), drawn, deck);
            }
        }
    }
}

}  // namespace
}  // namespace flowtap::test
