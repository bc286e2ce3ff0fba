#include "lib/dtcp/notification.h"

#include "lib/dtcp/response_reader.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>

#include <array>
#include <cstdint>
#include <string>

namespace flowtap::test {
namespace {

/// The lines of the notification after its first and before TIMESTAMP, checked for form.
std::string details(const dtcp::Notification& notification, std::uint16_t code) {
    auto key = hmac("Juniper");
    const std::string message =
        dtcp::write_notification(dtcp::version_0_6, notification, dtcp::Timestamp{}, key);
    const auto read = dtcp::read_response(message, key);
    REQUIRE(read);
    CHECK(read->is_notification());
    CHECK(read->version == dtcp::version_0_6);
    CHECK(read->code == code);
    CHECK(static_cast<std::uint16_t>(dtcp::code(notification)) == code);
    REQUIRE_FALSE(read->fields.empty());
    CHECK(read->fields.back().name == "TIMESTAMP");
    CHECK(read->fields.back().value == "1970-01-01 00:00:00.000");
    std::string text;
    for (std::size_t i = 0; i + 1 < read->fields.size(); ++i) {
        text += read->fields[i].name + ": " + read->fields[i].value + "\n";
    }
    return text;
}

TEST_CASE("9: 130 and 131 say nothing but when",
          "[dtcp][dtcp:2.response-line][dtcp:3.signed-notifications][dtcp:3.notification-no-seq][dtcp:9.130]["
          "dtcp:9.131]") {
    CHECK(details(dtcp::RolloverNotification{}, 130).empty());
    CHECK(details(dtcp::NoopNotification{}, 131).empty());
}

TEST_CASE("9: 390 tells the ID, and specified and remaining of each configured timeout",
          "[dtcp][dtcp:2.upper-case][dtcp:9.390]") {
    CHECK(
        details(dtcp::TimeoutNotification{9, {.idle = 60, .bytes = 1000}, {.idle = 0, .bytes = 400}}, 390) ==
        "CRITERIA-ID: 9\nTIMEOUT-IDLE: 60\nTIMEOUT-BYTES: 1000\nREMAINING-IDLE: 0\nREMAINING-BYTES: 400\n");
    CHECK(
        details(dtcp::TimeoutNotification{9, {.total = 1, .packets = 2}, {.total = 3, .packets = 4}}, 390) ==
        "CRITERIA-ID: 9\nTIMEOUT-TOTAL: 1\nTIMEOUT-PACKETS: 2\nREMAINING-TOTAL: 3\nREMAINING-PACKETS: 4\n");
}

TEST_CASE("9: 580 tells the destination and the bandwidths", "[dtcp][dtcp:9.580-fields]") {
    CHECK(details(dtcp::CongestionNotification{"cd1", 5, 4, 10}, 580) ==
          "CDEST-ID: cd1\nAVERAGE-BANDWIDTH: 5\nALERT-BANDWIDTH: 4\nMAX-BANDWIDTH: 10\n");
}

TEST_CASE("9: 598 tells the destination, the criterion and what was dropped", "[dtcp][dtcp:9.598-fields]") {
    CHECK(details(dtcp::DroppedNotification{"cd1", 7, 8, 9}, 598) ==
          "CDEST-ID: cd1\nCRITERIA-ID: 7\nDROPPED-PACKETS: 8\nDROPPED-BYTES: 9\n");
    // A criterion's list of destinations, as it was given.
    CHECK(details(dtcp::DroppedNotification{"cd1, cd2", 7, 8, 9}, 598).starts_with("CDEST-ID: cd1, cd2\n"));
}

TEST_CASE("9: 599 tells the reason", "[dtcp][dtcp:9.599]") {
    CHECK(details(dtcp::RestartNotification{"power, lost\n"}, 599) == "ALERT-INFO: power, lost\\010\n");
}

TEST_CASE("9: 680 tells the destination and the list of IDs", "[dtcp][dtcp:9.680-fields]") {
    constexpr std::array<std::uint64_t, 3> ids{4, 2, 18446744073709551615U};
    CHECK(details(dtcp::PurgedNotification{"cd1", ids}, 680) ==
          "CDEST-ID: cd1\nCRITERIA-ID: 4,2,18446744073709551615\n");
}

}  // namespace
}  // namespace flowtap::test
