// Shims as their vendors and lib/shims.h define them, byte by byte, written out by hand here.
#include "tools/receive/shim.h"

#include "test/support/packets.h"
#include "tools/receive/encapsulation.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace flowtap::test {
namespace {

using lib::Shim;
using tools::receive::Cause;
using tools::receive::parse_shim;
using tools::receive::ShimRules;
using tools::receive::strip;

const Bytes original{0x45, 0, 0, 20, 1, 2, 3, 4};
const Bytes ours{0xf1, 0x07, 0x7a, 0x90, 0x01, 0x07, 0x00, 0x00, 0x01, 0x02, 0x03,
                 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
                 0x17, 0x18, 0x7a, 0x7b, 0x7c, 0x7d, 0x00, 0x00, 0x01, 0x02};

Bytes joined(Bytes first, const Bytes& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

TEST_CASE("what each shim says") {
    const auto raw = parse_shim(original, {});
    REQUIRE(raw);
    CHECK(raw->shim == Shim::raw);
    CHECK(raw->size == 0);

    const auto juniper = parse_shim(joined({0x3f, 1, 2, 3, 0xa4, 5, 6, 7}, original), {});
    REQUIRE(juniper);
    CHECK(juniper->shim == Shim::jmirror);
    CHECK(juniper->size == 8);
    CHECK(juniper->id == 0x3f01'0203);
    CHECK(juniper->session == 0xa405'0607);
    CHECK_FALSE(juniper->to_target);

    const auto cisco = parse_shim(joined({0xfe, 1, 2, 3}, original), Shim::cisco);
    REQUIRE(cisco);
    CHECK(cisco->size == 4);
    CHECK(cisco->id == 0xfe01'0203);

    for (const bool to_target : {false, true}) {
        const auto first = static_cast<std::uint8_t>(to_target ? 0x7f : 0x5f);
        const auto nokia = parse_shim(joined({first, 1, 2, 3, 0xa4, 5, 6, 7}, original), Shim::nokia_l3);
        REQUIRE(nokia);
        CHECK(nokia->size == 8);
        CHECK(nokia->id == 0x1f01'0203);
        CHECK(nokia->session == 0xa405'0607);
        CHECK(nokia->to_target == to_target);
    }

    const auto flowtap = parse_shim(joined(ours, original), {});
    REQUIRE(flowtap);
    CHECK(flowtap->shim == Shim::flowtap);
    CHECK(flowtap->size == 32);
    CHECK(flowtap->flags == 7);
    CHECK(flowtap->to_target == true);
    CHECK(flowtap->sequence == 0x0102'0304'0506'0708);
    CHECK(flowtap->arrival == 0x1112'1314'1516'1718);
    CHECK(flowtap->id == 0x7a7b'7c7d);
    CHECK(flowtap->dropped == 0x102);
}

TEST_CASE("a payload that does not begin with the shim that it should have is refused") {
    CHECK_FALSE(parse_shim(Bytes(3, 0xff), Shim::cisco));
    CHECK_FALSE(parse_shim(Bytes(7, 0), {}));
    CHECK_FALSE(parse_shim(Bytes{0x80, 0, 0, 0, 0, 0, 0, 0}, Shim::nokia_l3));
    CHECK_FALSE(parse_shim(Bytes{0x00, 0, 0, 0, 0, 0, 0, 0}, Shim::nokia_l3));
    CHECK_FALSE(parse_shim(original, Shim::jmirror));
    CHECK_FALSE(parse_shim(Bytes(ours.begin(), ours.end() - 1), {}));
    for (const std::size_t place : {0U, 3U, 4U}) {  // magic and version
        Bytes other = ours;
        other[place] ^= 1;
        CHECK_FALSE(parse_shim(other, {}));
    }
}

TEST_CASE("which shim is said by port, then for all, then by the first bits") {
    ShimRules rules;
    CHECK(rules.at(1) == std::nullopt);
    CHECK(rules.add("cisco"));
    CHECK(rules.add("5000=nokia-l3"));
    CHECK(rules.at(1) == Shim::cisco);
    CHECK(rules.at(5000) == Shim::nokia_l3);
    for (const std::string_view bad :
         {"", "juniper", "=cisco", "0=raw", "65536=raw", "5000=", "x=raw", "5 =raw"}) {
        CHECK_FALSE(rules.add(bad));
    }

    Bytes frame = Packet()
                      .ipv4({.source = "100.100.100.100", .dest = "2.2.2.2"})
                      .udp({.source_port = 9, .dest_port = 5000})
                      .payload(joined({0x5f, 1, 2, 3, 0, 0, 0, 9}, original))
                      .frame();
    frame.erase(frame.begin(), frame.begin() + 14);
    const auto copy = strip(frame, rules);
    REQUIRE(copy);
    CHECK(copy->shim.id == 0x1f01'0203);
    CHECK(std::ranges::equal(copy->original, original));
    ShimRules wrong;
    REQUIRE(wrong.add("flowtap"));
    CHECK(strip(frame, wrong).error() == Cause::bad_shim);
}

}  // namespace
}  // namespace flowtap::test
