// Where an ADD's copies go (dtcp.md section 7): what it has to say itself, and what the configuration knows.
#include "test/unit/control/dialogue.h"

#include <array>

namespace flowtap::test {

namespace {

const std::vector<lib::TapDestination>& destinations(Box& box, std::uint64_t id) {
    return box.tasking().taps().of(control::SourceIndex{0}).at(id)->plan.destinations;
}

lib::TapDestination only(Box& box, std::uint64_t id) {
    REQUIRE(destinations(box, id).size() == 1);
    return destinations(box, id).front();
}

std::array<std::uint8_t, 4> ipv4(const std::array<std::uint8_t, 16>& bytes) {
    return {bytes[0], bytes[1], bytes[2], bytes[3]};
}

}  // namespace

TEST_CASE("a configured destination brings its addresses, ports and TTL; what the ADD says comes before",
          "[dtcp:7.cdest-configured]") {
    auto config = box_config();
    config.destinations[0].ttl = 33;
    Box box{config};
    const auto ask = [&](std::initializer_list<std::string_view> lines) {
        std::string text = "ADD DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1\r\nCdest-ID: known\r\nFlags: Static";
        for (const auto line : lines) {
            text += fmt::format("\r\n{}", line);
        }
        return only(box, id_of(one(box.ask(message(text, {})))));
    };
    const auto configured = ask({});
    CHECK(configured.family == lib::Family::ipv4);
    CHECK(ipv4(configured.dest_address) == std::array<std::uint8_t, 4>{192, 0, 2, 7});
    CHECK(configured.dest_port == 7007);
    CHECK(ipv4(configured.source_address) == std::array<std::uint8_t, 4>{192, 0, 2, 100});
    CHECK(configured.source_port == 7008);
    CHECK(configured.ttl == 33);
    const auto port = ask({"X-JTap-Cdest-Dest-Port: 9"});
    CHECK(port.dest_port == 9);
    CHECK(port.dest_address == configured.dest_address);
    const auto all = ask({"X-JTap-Cdest-Dest-Address: 192.0.2.1", "X-JTap-Cdest-Dest-Port: 1",
                          "X-JTap-Cdest-Source-Address: 203.0.113.9", "X-JTap-Cdest-Source-Port: 2",
                          "X-JTap-Cdest-TTL: 3"});
    CHECK(ipv4(all.dest_address) == std::array<std::uint8_t, 4>{192, 0, 2, 1});
    CHECK(ipv4(all.source_address) == std::array<std::uint8_t, 4>{203, 0, 113, 9});
    CHECK(all.source_port == 2);
    CHECK(all.ttl == 3);
}

TEST_CASE("each of the four parameters of a destination that is not configured is needed: 901",
          "[dtcp:7.cdest-needed][dtcp:9.901]") {
    Box box;
    const std::array<std::string_view, 4> all{
        "X-JTap-Cdest-Dest-Address: 192.0.2.1", "X-JTap-Cdest-Dest-Port: 5000",
        "X-JTap-Cdest-Source-Address: 203.0.113.1", "X-JTap-Cdest-Source-Port: 5001"};
    for (std::size_t missing = 0; missing <= all.size(); ++missing) {
        std::string text = "ADD DTCP/0.7\r\nCsource-ID: a\r\nSeq: 1\r\nCdest-ID: cd\r\nFlags: Static";
        for (std::size_t i = 0; i < all.size(); ++i) {
            text += i == missing ? "" : fmt::format("\r\n{}", all[i]);
        }
        CHECK(one(box.ask(message(text, {}))).code == (missing == all.size() ? 200 : 901));
    }
    CHECK(box.installed().size() == 1);
}

TEST_CASE("the TTL is 255 if neither the ADD nor the configuration says another", "[dtcp:7.cdest-ttl]") {
    Box box;
    CHECK(only(box, add(box)).ttl == 255);
    CHECK(only(box, add(box, {"X-JTap-Cdest-TTL: 1"})).ttl == 1);
}

TEST_CASE("copies to a configured address and port are in its account, whatever name they have") {
    auto config = box_config();
    config.destinations.push_back(config.destinations[0]);
    config.destinations.back().name = "second name of it";
    config.destinations.push_back(config.destinations[0]);
    config.destinations.back().name = "other port";
    config.destinations.back().port = 7009;
    Box box{config};
    const auto account = [&](std::initializer_list<std::string_view> lines) {
        return only(box, add(box, lines)).account;
    };
    CHECK(account({"X-JTap-Cdest-Dest-Address: 192.0.2.7", "X-JTap-Cdest-Dest-Port: 7007"}) == 0);
    CHECK(account({"X-JTap-Cdest-Dest-Address: 192.0.2.7", "X-JTap-Cdest-Dest-Port: 7009"}) ==
          config.destinations.size() - 1);
    CHECK(account({"X-JTap-Cdest-Dest-Address: 192.0.2.7", "X-JTap-Cdest-Dest-Port: 7008"}) ==
          lib::other_account);
}

TEST_CASE("sixteen destinations are one tap to all of them", "[dtcp:7.cdest-16]") {
    auto config = box_config();
    config.sources[0].max_destinations = 16;
    Box box{config};
    std::string names;
    std::string addresses;
    std::string ports;
    for (int i = 0; i < 16; ++i) {
        names += fmt::format("{}c{}", i == 0 ? "Cdest-ID: " : ",", i);
        addresses += fmt::format("{}192.0.2.{}", i == 0 ? "X-JTap-Cdest-Dest-Address: " : ",", i);
        ports += fmt::format("{}{}", i == 0 ? "X-JTap-Cdest-Dest-Port: " : ",", 100 + i);
    }
    const auto id = add(box, {names, addresses, ports});
    const auto& places = destinations(box, id);
    REQUIRE(places.size() == 16);
    for (std::size_t i = 0; i < 16; ++i) {
        CHECK(places[i].dest_address[3] == i);
        CHECK(places[i].dest_port == 100 + i);
        CHECK(places[i].source_port == 5001);
    }
    CHECK(count_of(one(box.ask(request("DELETE", {"Cdest-ID: c15", "Flags: Static"})))) == 1);
}

}  // namespace flowtap::test
