#include "lib/dtcp/list_response.h"

#include "lib/dtcp/framing.h"
#include "lib/dtcp/response_reader.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {
namespace {

using dtcp::ListEntry;
using dtcp::ListWriter;
using dtcp::Name;
using dtcp::Timestamp;

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
constexpr std::size_t datagram = 1400;

const Timestamp now = dtcp::parse_timestamp("2024-05-06 07:08:09.010").value();
const Timestamp earlier = dtcp::parse_timestamp("2024-05-06 07:00:00.000").value();

ListEntry entry(std::uint64_t id) {
    return {.criteria_id = id,
            .csource_id = "csrc",
            .csource_address = "192.0.2.1",
            .cdest_ids = "cd1,cd2",
            .added = earlier};
}

std::string name_list(std::string_view message) {
    const auto response = dtcp::read_response_unverified(message).value();
    std::string names;
    for (const auto& field : response.fields) {
        names += field.name + " ";
    }
    return names;
}

TEST_CASE("8: an entry has its parameters in the order of the specification",
          "[dtcp][dtcp:2.upper-case][dtcp:8.entry][dtcp:8.order]") {
    auto key = hmac("Juniper");
    ListWriter writer{dtcp::version_0_7, 3, now, 1, unlimited, key};
    ListEntry full = entry(42);
    full.given_filter = "SOURCE-ADDRESS: 10.0.0.1\r\n";
    full.specified.idle = 60;
    const std::string given =
        lines({"FLAGS: SENDASYNC", "X-JTAP-CDEST-DEST-ADDRESS: 203.0.113.1", "X-MD-INTERCEPT-ID: 1"});
    full.given = given;
    full.statistics = dtcp::ListStatistics{.remaining_idle = 59,
                                           .remaining_total = 1,
                                           .remaining_packets = 2,
                                           .remaining_bytes = 3,
                                           .average_bandwidth = 4,
                                           .matching_packets = 5,
                                           .matching_bytes = 6,
                                           .num_refresh = 7,
                                           .last_refresh = earlier};
    writer.add(full);
    const auto messages = std::move(writer).finish();
    REQUIRE(messages.size() == 1);
    std::string expected = lines({"DTCP/0.7 200 OK",
                                  "SEQ: 3",
                                  "TIMESTAMP: 2024-05-06 07:08:09.010",
                                  "CRITERIA-ID: 42",
                                  "CSOURCE-ID: csrc",
                                  "CDEST-ID: cd1,cd2",
                                  "CSOURCE-ADDRESS: 192.0.2.1",
                                  "TIMESTAMP: 2024-05-06 07:00:00.000",
                                  "SOURCE-ADDRESS: 10.0.0.1",
                                  "TIMEOUT-IDLE: 60",
                                  "FLAGS: SENDASYNC",
                                  "X-JTAP-CDEST-DEST-ADDRESS: 203.0.113.1",
                                  "X-MD-INTERCEPT-ID: 1",
                                  "REMAINING-IDLE: 59",
                                  "REMAINING-TOTAL: 1",
                                  "REMAINING-PACKETS: 2",
                                  "REMAINING-BYTES: 3",
                                  "AVERAGE-BANDWIDTH: 4",
                                  "MATCHING-PACKETS: 5",
                                  "MATCHING-BYTES: 6",
                                  "NUM-REFRESH: 7",
                                  "LAST-REFRESH: 2024-05-06 07:00:00.000",
                                  "CRITERIA-NUM: 1",
                                  "CRITERIA-COUNT: 1"});
    key.sign(expected);
    CHECK(messages[0] == expected);
}

TEST_CASE("8: criteria and statistics are there where they were asked for", "[dtcp][dtcp:8.criteria]") {
    auto key = hmac("Juniper");
    ListWriter writer{dtcp::version_0_7, 3, now, 2, unlimited, key};
    ListEntry criteria = entry(1);
    criteria.given = "PROTOCOL: 6\r\n";
    criteria.csource_address = {};
    writer.add(criteria);
    ListEntry statistics = entry(2);
    statistics.statistics = dtcp::ListStatistics{};
    writer.add(statistics);
    const auto messages = std::move(writer).finish();
    REQUIRE(messages.size() == 1);
    CHECK(name_list(messages[0]) ==
          "SEQ TIMESTAMP CRITERIA-ID CSOURCE-ID CDEST-ID TIMESTAMP PROTOCOL CRITERIA-NUM CRITERIA-COUNT "
          "CRITERIA-ID CSOURCE-ID CDEST-ID CSOURCE-ADDRESS TIMESTAMP AVERAGE-BANDWIDTH MATCHING-PACKETS "
          "MATCHING-BYTES "
          "NUM-REFRESH CRITERIA-NUM CRITERIA-COUNT ");
}

TEST_CASE("8: no match at all is 200 without an entry", "[dtcp][dtcp:8.none]") {
    auto key = hmac("Juniper");
    const auto messages = ListWriter{dtcp::version_0_7, 3, now, 0, datagram, key}.finish();
    REQUIRE(messages.size() == 1);
    CHECK(name_list(messages[0]) == "SEQ TIMESTAMP ");
    CHECK(dtcp::read_response(messages[0], key));
}

TEST_CASE("8: on SSH one answer is one long message, which a client takes apart into its entries",
          "[dtcp][dtcp:8.numbered][dtcp:8.ssh-one]") {
    auto key = hmac("Juniper");
    constexpr std::uint64_t total = 5000;
    ListWriter writer{dtcp::version_0_7, 3, now, total, unlimited, key};
    for (std::uint64_t id = 1; id <= total; ++id) {
        writer.add(entry(id * 3));
    }
    const auto messages = std::move(writer).finish();
    REQUIRE(messages.size() == 1);
    CHECK(messages[0].size() > 490'000);
    dtcp::Splitter splitter{unlimited};
    std::string_view stream = messages[0];
    const auto framed = splitter.next(stream);
    REQUIRE((framed && *framed));
    const auto response = dtcp::read_response(**framed, key);
    REQUIRE(response);
    const auto entries = response->entries();
    REQUIRE(entries.size() == total);
    for (std::uint64_t i = 0; i < total; ++i) {
        REQUIRE(entries[i].front().value == std::to_string((i + 1) * 3));
        REQUIRE(entries[i].back().value == std::to_string(total));
        REQUIRE(entries[i][entries[i].size() - 2].value == std::to_string(i + 1));
    }
}

TEST_CASE(
    "8: on UDP messages hold at most 1,400 bytes, whole entries, the request's SEQ and their own signature",
    "[dtcp][dtcp:8.udp-size][dtcp:8.udp-whole][dtcp:8.numbered]") {
    auto key = hmac("Juniper");
    constexpr std::uint64_t total = 100;
    ListWriter writer{dtcp::version_0_8, 77, now, total, datagram, key};
    for (std::uint64_t id = 1; id <= total; ++id) {
        writer.add(entry(id));
    }
    const auto messages = std::move(writer).finish();
    CHECK(messages.size() > 5);
    std::uint64_t next = 1;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        CHECK(messages[i].size() <= datagram);
        const auto response = dtcp::read_response(messages[i], key);
        REQUIRE(response);
        CHECK(response->seq() == 77);
        const auto entries = response->entries();
        REQUIRE_FALSE(entries.empty());
        for (const auto& fields : entries) {
            CHECK(fields.size() == 7);
            CHECK(fields[0].value == std::to_string(next));
            CHECK(fields[5].value == std::to_string(next++));
            CHECK(fields[6].value == "100");
        }
        // No entry that follows would have fitted.
        CHECK((i + 1 == messages.size() || messages[i].size() > datagram - 250));
    }
    CHECK(next == total + 1);
}

TEST_CASE("8: an entry larger than a datagram goes out whole and alone", "[dtcp][dtcp:8.udp-size]") {
    auto key = hmac("Juniper");
    const std::string given = "PROTOCOL: " + std::string(3000, '1') + "\r\n";
    for (std::uint64_t large_id = 1; large_id <= 3; ++large_id) {
        ListWriter writer{dtcp::version_0_7, 3, now, 3, datagram, key};
        for (std::uint64_t id = 1; id <= 3; ++id) {
            ListEntry large = entry(id);
            large.given = id == large_id ? std::string_view{given} : std::string_view{};
            writer.add(large);
        }
        const auto messages = std::move(writer).finish();
        // The two small ones share a message where nothing stands between them.
        REQUIRE(messages.size() == (large_id == 2 ? 3 : 2));
        std::size_t entries = 0;
        for (const std::string& message : messages) {
            const std::size_t count = dtcp::read_response(message, key)->entries().size();
            CHECK((message.size() <= datagram || count == 1));
            CHECK(count > 0);
            entries += count;
        }
        CHECK(entries == 3);
    }
}

TEST_CASE("8: no datagram is larger than 1,400 bytes, however the entries fill it",
          "[dtcp][dtcp:8.udp-size]") {
    auto key = hmac("Juniper");
    for (const dtcp::Version version : {dtcp::version_0_5, dtcp::version_0_6}) {
        for (std::size_t length = 1; length <= 200; ++length) {
            for (std::uint64_t total = 4; total <= 10; ++total) {
                ListWriter writer{version, 3, now, total, datagram, key};
                const std::string cdest(length, 'c');
                for (std::uint64_t id = 1; id <= total; ++id) {
                    ListEntry one = entry(id);
                    one.cdest_ids = cdest;
                    writer.add(one);
                }
                for (const std::string& message : std::move(writer).finish()) {
                    REQUIRE(message.size() <= datagram);
                }
            }
        }
    }
}

TEST_CASE("4: in 0.5 there is no CRITERIA-NUM, and NUM-CRITERIA is in the last message only",
          "[dtcp][dtcp:4.list-num-criteria]") {
    auto key = hmac("Juniper");
    ListWriter writer{dtcp::version_0_5, 3, now, 30, datagram, key};
    for (std::uint64_t id = 1; id <= 30; ++id) {
        writer.add(entry(id));
    }
    const auto messages = std::move(writer).finish();
    REQUIRE(messages.size() > 1);
    for (std::size_t i = 0; i < messages.size(); ++i) {
        CHECK(messages[i].size() <= datagram);
        CHECK(messages[i].starts_with("DTCP/0.5 200 OK\r\n"));
        const auto response = dtcp::read_response(messages[i], key);
        REQUIRE(response);
        CHECK(response->find(Name::criteria_num) == nullptr);
        CHECK(response->find(Name::criteria_count) == nullptr);
        const auto* const count = response->find(Name::num_criteria);
        CHECK((count != nullptr) == (i + 1 == messages.size()));
        CHECK((count == nullptr || *count == "30"));
    }
}

TEST_CASE("8: identifiers are escaped in an entry, what was given is not", "[dtcp][dtcp:8.criteria]") {
    auto key = hmac("Juniper");
    ListWriter writer{dtcp::version_0_7, 3, now, 1, unlimited, key};
    ListEntry odd = entry(1);
    odd.csource_id = "a\r\nb";
    odd.cdest_ids = "c\\044d,e";
    writer.add(odd);
    const auto messages = std::move(writer).finish();
    const auto response = dtcp::read_response(messages.at(0), key);
    REQUIRE(response);
    CHECK(*response->find(Name::csource_id) == "a\\013\\010b");
    CHECK(*response->find(Name::cdest_id) == "c\\044d,e");
}

}  // namespace
}  // namespace flowtap::test
