// What a destination's configuration makes of copies to its address and port, and where the ids in their
// shims come from.
#include "test/unit/control/dialogue.h"

#include <array>

namespace flowtap::test {

namespace {

using Bytes = std::array<std::uint8_t, 8>;

lib::Config config_with(lib::Shim shim, std::uint8_t dscp = 0) {
    auto config = box_config();
    config.destinations[0].shim = shim;
    config.destinations[0].dscp = dscp;
    return config;
}

/// To the configured destination's address and port, under another name.
std::string by_address(std::initializer_list<std::string_view> more = {}) {
    std::string text =
        "ADD DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1\r\nFlags: Static\r\nCdest-ID: mine\r\n"
        "X-JTap-Cdest-Dest-Address: 192.0.2.7\r\nX-JTap-Cdest-Dest-Port: 7007\r\n"
        "X-JTap-Cdest-Source-Address: 203.0.113.1\r\nX-JTap-Cdest-Source-Port: 5001";
    for (const auto line : more) {
        text += fmt::format("\r\n{}", line);
    }
    return message(text, {});
}

/// As the dataplane has it after a new control process has read it from the registry; what it got first is
/// the same.
lib::TapDestination installed(Box& box, std::uint64_t id) {
    const auto before = box.destinations_of(id);
    REQUIRE(before.size() == 1);
    box.dataplane_dies();
    box.control_restarts();
    box.dataplane_starts();
    const auto after = box.destinations_of(id);
    REQUIRE(after.size() == 1);
    CHECK(after[0].shim == before[0].shim);
    CHECK(after[0].shim_bytes == before[0].shim_bytes);
    CHECK(after[0].dscp == before[0].dscp);
    CHECK(after[0].account == before[0].account);
    return after[0];
}

struct Added {
    std::uint64_t id = 0;
    lib::TapDestination destination;
};

Added added(const lib::Config& config, std::initializer_list<std::string_view> more) {
    Box box{config};
    const auto id = id_of(one(box.ask(by_address(more))));
    return {id, installed(box, id)};
}

Bytes words(std::uint64_t first, std::uint64_t second) {
    Bytes bytes;
    for (std::size_t i = 0; i < 4; ++i) {
        bytes[i] = static_cast<std::uint8_t>(first >> (24 - 8 * i));
        bytes[4 + i] = static_cast<std::uint8_t>(second >> (24 - 8 * i));
    }
    return bytes;
}

}  // namespace

TEST_CASE("shim and DSCP go by address and port, whatever the ADD calls the destination") {
    const auto config = config_with(lib::Shim::cisco, 46);
    Box box{config};
    const auto named = box.destinations_of(
        id_of(one(box.ask(message("ADD DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1\r\nFlags: Static\r\n"
                                  "Cdest-ID: known",
                                  {})))));
    CHECK(named.at(0).shim == lib::Shim::cisco);
    CHECK(named.at(0).dscp == 46);
    const auto same = installed(box, id_of(one(box.ask(by_address()))));
    CHECK(same.shim == lib::Shim::cisco);
    CHECK(same.dscp == 46);
    // Its name, but another port: another receiver.
    const auto other = box.destinations_of(
        id_of(one(box.ask(message("ADD DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1\r\nFlags: Static\r\n"
                                  "Cdest-ID: known\r\nX-JTap-Cdest-Dest-Port: 9",
                                  {})))));
    CHECK(other.at(0).shim == lib::Shim::raw);
    CHECK(other.at(0).dscp == 0);
}

TEST_CASE("the ids are those of X-MD-Intercept-Id; without it, the Criteria-ID") {
    const std::string_view given = "X-MD-Intercept-Id: 0x1234567890abcdef";
    const auto cisco = config_with(lib::Shim::cisco);
    CHECK(added(cisco, {given}).destination.shim_bytes == words(0x1234'5678, 0));
    CHECK(added(cisco, {"X-MD-Intercept-Id: 0"}).destination.shim_bytes == words(0, 0));
    const auto numbered = added(cisco, {});
    CHECK(numbered.destination.shim_bytes == words(numbered.id, 0));
    const auto nokia = config_with(lib::Shim::nokia_l3);
    CHECK(added(nokia, {given}).destination.shim_bytes == words(0x5234'5678, 0x90ab'cdef));
    const auto session = added(nokia, {});
    CHECK(session.destination.shim_bytes == words(0x4000'0000 | (session.id & 0x1fff'ffff), session.id));
    // Several taps may have one intercept id, and each counts its own copies.
    const auto ours = config_with(lib::Shim::flowtap);
    for (const auto& each : {added(ours, {given}), added(ours, {})}) {
        CHECK(each.destination.shim_bytes == words(each.id, 0));
    }
    CHECK(added(config_with(lib::Shim::raw), {given}).destination.shim == lib::Shim::jmirror);
}

TEST_CASE("an intercept id of 30 bits is refused where the shim has 29: 400 with its line") {
    const auto config = config_with(lib::Shim::nokia_l3);
    Box box{config};
    const auto answer = box.ask(by_address({"X-MD-Intercept-Id: 2000000000000000"}));
    CHECK(one(answer).code == 400);
    CHECK(answer.find("\r\nX-MD-Intercept-Id: 2000000000000000\r\n") != std::string::npos);
    CHECK(box.installed().empty());
    CHECK(one(box.ask(by_address({"X-MD-Intercept-Id: 1fffffff00000000"}))).code == 200);
}

}  // namespace flowtap::test
