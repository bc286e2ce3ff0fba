#include "tools/receive/receiver.h"

#include "test/support/packets.h"
#include "test/unit/crypto/esp_fixture.h"
#include "tools/receive/report.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace flowtap::test {
namespace {

using tools::receive::LinkType;
using tools::receive::Receiver;

Bytes from_ip(Bytes frame) {
    frame.erase(frame.begin(), frame.begin() + 14);
    return frame;
}

Bytes original(std::size_t size) {
    return from_ip(Packet().ipv6().udp().payload(size).frame());
}

Bytes copy_of(const Bytes& packet, std::string_view destination, std::uint16_t port) {
    return from_ip(Packet()
                       .ipv4({.source = "100.100.100.100", .dest = destination})
                       .udp({.source_port = 9, .dest_port = port})
                       .payload(packet)
                       .frame());
}

Receiver make_receiver(std::optional<std::size_t> window = std::nullopt) {
    return {make_opener(), make_inbound(window)};
}

/// An ESP packet made by OpenSSL, in an outer IPv4 packet.
Bytes outer(const Bytes& esp_packet) {
    return from_ip(Packet().ipv4().raw(50, esp_packet).frame());
}

/// Padded and sealed by OpenSSL.
Bytes sealed(std::uint32_t sequence, Bytes inner, std::uint8_t next_header = 4, std::uint64_t iv = 0) {
    std::uint8_t padding = 0;
    while ((inner.size() + 2) % 4 != 0) {
        inner.push_back(++padding);
    }
    inner.push_back(padding);
    inner.push_back(next_header);
    return outer(esp_of(sequence, inner, iv == 0 ? sequence : iv));
}

TEST_CASE("every frame is an original packet, or counted by why it is none") {
    Receiver receiver = make_receiver(64);
    auto sealer = make_sealer();
    const auto sa = make_sa(outbound());
    const auto receive = [&](Bytes frame) -> std::optional<Bytes> {
        const auto got = receiver.receive(frame, LinkType::raw);
        return got ? std::optional(Bytes(got->begin(), got->end())) : std::nullopt;
    };
    CHECK(receive(seal(sealer, *sa, copy_of(original(10), "2.2.2.2", 700))) == original(10));  // sequence 1
    CHECK(receive(sealed(2, copy_of(original(1300), "2.2.2.3", 700))) == original(1300));
    CHECK(receive(sealed(3, copy_of(original(11), "2.2.2.2", 700))) == original(11));
    CHECK(receive(sealed(8, copy_of(original(12), "2.2.2.2", 701))) == original(12));

    CHECK(receive(sealed(8, copy_of(original(12), "2.2.2.2", 701))) == std::nullopt);
    Bytes damaged = sealed(9, copy_of(original(1), "2.2.2.2", 701));
    damaged.back() ^= 1;
    CHECK(receive(damaged) == std::nullopt);
    Bytes other_spi = sealed(10, copy_of(original(1), "2.2.2.2", 701));
    other_spi[20] ^= 1;
    CHECK(receive(other_spi) == std::nullopt);
    CHECK(receive(sealed(11, from_ip(Packet().ipv4().tcp().frame()))) == std::nullopt);
    CHECK(receive(sealed(12, copy_of(original(1), "2.2.2.2", 701), 59)) == std::nullopt);
    CHECK(receive(sealed(13, copy_of(original(1), "2.2.2.2", 701), 6)) == std::nullopt);
    CHECK(receive(from_ip(Packet().ipv4({.more_fragments = true}).raw(50, Bytes(40)).frame())) ==
          std::nullopt);
    CHECK(receive(from_ip(Packet().ipv4().udp().frame())) == std::nullopt);
    CHECK(receive(outer({})) == std::nullopt);  // ESP without a byte of ESP

    const auto& statistics = receiver.statistics();
    CHECK_FALSE(statistics.clean());
    const auto report = nlohmann::json::parse(tools::receive::json_report(statistics, 17));
    const auto expected = nlohmann::json::parse(R"({
        "esp_packets": 12, "frames_other": 1, "copies": 4, "bytes": 1525, "dummies": 1, "capture_dropped": 17,
        "refused": 7,
        "refused_by": {"open-replayed": 1, "open-bad-icv": 1, "open-wrong-spi": 1, "not-udp": 1,
                       "open-bad-next-header": 1, "outer-fragment": 1, "open-truncated": 1},
        "destinations": [{"address": "2.2.2.2", "port": 700, "packets": 2, "bytes": 117},
                         {"address": "2.2.2.2", "port": 701, "packets": 1, "bytes": 60},
                         {"address": "2.2.2.3", "port": 700, "packets": 1, "bytes": 1348}],
        "taps": [], "whole_frames": 0,
        "sequence": {"seen": [{"first": 1, "last": 13}], "missing": 6, "duplicates": 0,
                     "gaps": [{"first": 4, "last": 7, "count": 4}, {"first": 9, "last": 10, "count": 2}]}})");
    CHECK(report == expected);
}

TEST_CASE("a run is clean only without refusals, gaps and repeats") {
    const auto clean_after = [](std::initializer_list<std::uint32_t> sequences) {
        Receiver receiver = make_receiver();
        for (const std::uint32_t sequence : sequences) {
            Bytes frame = sealed(sequence, copy_of(original(1), "2.2.2.2", 1));
            CHECK(receiver.receive(frame, LinkType::raw).has_value());
        }
        return receiver.statistics().clean();
    };
    CHECK(clean_after({}));
    CHECK(clean_after({5, 6, 7}));
    CHECK(clean_after({5, 7, 6}));
    CHECK_FALSE(clean_after({5, 7}));
    CHECK_FALSE(clean_after({5, 6, 6}));
}

TEST_CASE("a sender that went on in a new counter block left no gap") {
    Receiver receiver = make_receiver();
    for (const auto& [sequence, block] : {std::pair{900U, 0U}, {901U, 0U}, {1U, 1U}, {2U, 1U}}) {
        Bytes frame =
            sealed(sequence, copy_of(original(1), "2.2.2.2", 1), 4, std::uint64_t{block} << 32 | sequence);
        CHECK(receiver.receive(frame, LinkType::raw).has_value());
    }
    CHECK(receiver.statistics().clean());
}

TEST_CASE("the text report names what went wrong") {
    Receiver receiver = make_receiver();
    for (const std::uint32_t sequence : {1U, 2U, 5U, 7U}) {
        Bytes frame = sealed(sequence, copy_of(original(1), "2.2.2.2", 99));
        CHECK(receiver.receive(frame, LinkType::raw).has_value());
    }
    Bytes damaged = sealed(6, copy_of(original(1), "2.2.2.2", 99));
    damaged.back() ^= 1;
    CHECK_FALSE(receiver.receive(damaged, LinkType::raw).has_value());
    const std::string report = tools::receive::text_report(receiver.statistics(), 0);
    for (const char* const line : {"open-bad-icv", "integrity check failed", "to 2.2.2.2:99  4 packets",
                                   "3..4", "  6\n", "in 2 gaps"}) {
        CHECK_THAT(report, Catch::Contains(line));
    }
}

}  // namespace
}  // namespace flowtap::test
